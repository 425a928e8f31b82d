#include "lora/base/random.h"

#include <cmath>
#include <numbers>
#include <numeric>
#include <utility>

namespace lora {

uint64_t hash_name(std::string_view name) {
  uint64_t hash = 0xcbf29ce484222325ULL;
  for (const char c : name) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  }
  return mix64(hash);
}

uint64_t CounterRandom::below(uint64_t bound) {
  if (bound < 2) {
    return 0;
  }
  const uint64_t biased = (0 - bound) % bound;  // 2^64 mod bound: this many low numbers would be drawn too often
  uint64_t value = next();
  while (value < biased) {
    value = next();
  }
  return value % bound;
}

void fill_normal(std::span<float> values, uint64_t key) {
  CounterRandom random(key);
  for (size_t i = 0; i < values.size(); i += 2) {
    const double radius = std::sqrt(-2 * std::log(1 - random.uniform()));
    const double angle = 2 * std::numbers::pi * random.uniform();
    values[i] = static_cast<float>(radius * std::cos(angle));
    if (i + 1 < values.size()) {
      values[i + 1] = static_cast<float>(radius * std::sin(angle));
    }
  }
}

std::vector<int64_t> permutation(int64_t count, uint64_t key) {
  std::vector<int64_t> result(static_cast<size_t>(count < 0 ? 0 : count));
  std::iota(result.begin(), result.end(), 0);
  CounterRandom random(key);
  for (size_t i = result.size(); i > 1; --i) {
    std::swap(result[i - 1], result[random.below(i)]);
  }
  return result;
}

}  // namespace lora
