#pragma once
#include <ATen/ATen.h>

#include <cstdint>
#include <vector>

namespace lora::test {

/// The same as `numbers` of scripts/golden/small_state_optimizers.py, bit by bit (float64): cubes of hashes, between -1 and 1,
/// of many magnitudes; every 17th is 0, and so is the second block of 256.
inline at::Tensor numbers(int64_t seed, const std::vector<int64_t>& shape) {
  at::Tensor result = at::zeros(shape, at::kDouble);
  auto* values = result.mutable_data_ptr<double>();
  constexpr uint64_t kMask = 0xFFFFFFFF;
  for (int64_t n = 0; n < result.numel(); ++n) {
    uint64_t h = (static_cast<uint64_t>(n + 1) * 2654435761U + static_cast<uint64_t>(seed + 1) * 374761393U) & kMask;
    h = ((h ^ (h >> 15)) * 1103515245U) & kMask;
    h ^= h >> 13;
    const double u = static_cast<double>(h) / 2147483648.0 - 1.0;
    const bool zero = n % 17 == 0 || (n >= 256 && n < 512);
    values[n] = zero ? 0.0 : u * u * u;
  }
  return result;
}

}  // namespace lora::test
