#include "lora/quantization/dynamic_map.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

namespace lora::quantization {

namespace {

/// Edge i of `intervals` equal parts of [0.1, 1], rounded as torch.linspace does.
float edge(int64_t i, int64_t intervals) {
  const float step = (1.0F - 0.1F) / static_cast<float>(intervals);
  return i < (intervals + 1) / 2 ? std::fma(step, static_cast<float>(i), 0.1F) : std::fma(-step, static_cast<float>(intervals - i), 1.0F);
}

std::vector<float> values_of(bool is_signed) {
  constexpr std::array<float, 7> kDecades{1e-6F, 1e-5F, 1e-4F, 1e-3F, 1e-2F, 1e-1F, 1.0F};
  std::vector<float> values{0.0F, 1.0F};
  for (size_t decade = 0; decade < kDecades.size(); ++decade) {
    const int64_t intervals = int64_t{1} << (decade + (is_signed ? 0 : 1));
    for (int64_t i = 0; i < intervals; ++i) {
      const float value = kDecades[decade] * ((edge(i, intervals) + edge(i + 1, intervals)) / 2.0F);
      values.push_back(value);
      if (is_signed) {
        values.push_back(-value);
      }
    }
  }
  std::sort(values.begin(), values.end());
  return values;
}

QuantizationMap make_map(bool is_signed) {
  QuantizationMap map{};
  const std::vector<float> values = values_of(is_signed);
  if (values.size() != map.values.size()) {
    throw std::logic_error("a dynamic map has " + std::to_string(values.size()) + " values");
  }
  std::copy(values.begin(), values.end(), map.values.begin());
  for (size_t i = 0; i + 1 < values.size(); ++i) {
    map.midpoints[i] = (values[i] + values[i + 1]) / 2.0F;
  }
  map.midpoints.back() = std::numeric_limits<float>::infinity();
  for (uint32_t upper = 0; upper < map.first_codes.size(); ++upper) {
    const bool negative = upper >= 0x8000;
    const auto smallest = std::bit_cast<float>((upper << 16) | (negative ? 0xFFFF : 0));
    const auto* below = std::lower_bound(map.midpoints.begin(), map.midpoints.end(), smallest);
    map.first_codes[upper] = static_cast<uint8_t>(std::min<int64_t>(below - map.midpoints.begin(), 255));
  }
  return map;
}

}  // namespace

const QuantizationMap& dynamic_map(bool is_signed) {
  static const QuantizationMap kSigned = make_map(true);
  static const QuantizationMap kUnsigned = make_map(false);
  return is_signed ? kSigned : kUnsigned;
}

}  // namespace lora::quantization
