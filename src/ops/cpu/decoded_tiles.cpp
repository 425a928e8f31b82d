#include "ops/cpu/decoded_tiles.h"

#include <algorithm>
#include <cstring>

#include "ops/cpu/attention_tiles.h"
#include "ops/cpu/pairs.h"

namespace lora::ops::cpu {

namespace {

/// Sums of two outputs for kSide tokens become pairs.
LORA_INLINE void pair_sums(const float* first, const float* second, float first_bias, float second_bias, Pair* pairs) {
#pragma omp simd
  for (int64_t t = 0; t < kSide; ++t) {
    pairs[t] = narrowed<BFloat16>(first[t] + first_bias).bits | static_cast<Pair>(narrowed<BFloat16>(second[t] + second_bias).bits) << 16;
  }
}

}  // namespace

LORA_SIMD void store_transposed(const float* sums, int64_t rows, int64_t tokens, const BFloat16* bias, BFloat16* y, int64_t stride) {
  constexpr int64_t kRun = 2 * kSide;  // a cache line of y
  const auto bias_of = [bias](int64_t row) { return bias == nullptr ? 0.0F : widened(bias[row]); };
  for (int64_t begin = 0; begin < rows; begin += kRun) {
    const int64_t count = std::min(kRun, rows - begin);
    for (int64_t t = 0; t < tokens; t += kSide) {
      Pair square[kSide * kSide] = {};
      for (int64_t r = 0; r < count; r += 2) {
        const int64_t row = begin + r, next = r + 1 < count ? row + 1 : row;
        pair_sums(sums + row * kTile + t, sums + next * kTile + t, bias_of(row), bias_of(next), square + r / 2 * kSide);
      }
      transpose_square(square);
      for (int64_t s = 0; s < std::min(kSide, tokens - t); ++s) {
        std::memcpy(y + (t + s) * stride + begin, square + s * kSide, static_cast<size_t>(count) * sizeof(BFloat16));
      }
    }
  }
}

LORA_SIMD void store_rows(const float* sums, int64_t rows, int64_t columns, bool add, BFloat16* out, int64_t stride) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* const from = sums + r * columns;
    BFloat16* const to = out + r * stride;
    if (add) {
#pragma omp simd
      for (int64_t i = 0; i < columns; ++i) {
        to[i] = narrowed<BFloat16>(from[i] + widened(to[i]));
      }
    } else {
#pragma omp simd
      for (int64_t i = 0; i < columns; ++i) {
        to[i] = narrowed<BFloat16>(from[i]);
      }
    }
  }
}

}  // namespace lora::ops::cpu
