#pragma once
#include <array>
#include <cstdint>

namespace lora::quantization {

/// 256 values between -1 or 0 and 1 that numbers are quantised to, prepared for fast lookup of the nearest.
struct QuantizationMap {
  std::array<float, 256> values;     ///< ascending
  std::array<float, 256> midpoints;  ///< from each value to the next; the last is infinite
  /// For the upper 16 bits of a float, the code of the smallest number that has them. Numbers with the same upper bits cross at most one
  /// midpoint, so that the code of each is this one or the next.
  std::array<uint8_t, 65536> first_codes;
};

/// The dynamic data type of Dettmers et al. 2021 (8-bit Optimizers via Block-wise Quantization), sections 2.1 and 2.2: each decade from
/// 1 down to 1e-6 has half as many values as the one above it, evenly spaced; and there are 0 and 1. Without a sign, its bit doubles
/// the number of values. Equal to bitsandbytes' create_dynamic_map, bit by bit.
const QuantizationMap& dynamic_map(bool is_signed);

}  // namespace lora::quantization
