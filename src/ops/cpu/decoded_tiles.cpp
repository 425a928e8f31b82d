#include "ops/cpu/decoded_tiles.h"

#include <algorithm>
#include <cstring>

#include "ops/cpu/attention_tiles.h"
#include "ops/cpu/pairs.h"

namespace lora::ops::cpu {

LORA_SIMD void store_transposed(const float* sums, int64_t rows, int64_t tokens, const BFloat16* bias, BFloat16* y, int64_t stride) {
  constexpr int64_t kRun = 2 * kSide;  // a cache line of y
  BFloat16 elements[kRun][kTile] = {};
  for (int64_t begin = 0; begin < rows; begin += kRun) {
    const int64_t count = std::min(kRun, rows - begin);
    for (int64_t r = 0; r < count; ++r) {
      const float* const from = sums + (begin + r) * kTile;
      const float b = bias == nullptr ? 0.0F : widened(bias[begin + r]);
#pragma omp simd
      for (int64_t t = 0; t < kTile; ++t) {
        elements[r][t] = narrowed<BFloat16>(from[t] + b);
      }
    }
    for (int64_t t = 0; t < tokens; t += kSide) {
      Pair square[kSide * kSide];
      for (int64_t r = 0; r < kSide; ++r) {
#pragma omp simd
        for (int64_t s = 0; s < kSide; ++s) {
          square[r * kSide + s] = elements[2 * r][t + s].bits | static_cast<Pair>(elements[2 * r + 1][t + s].bits) << 16;
        }
      }
      transpose_square(square);
      for (int64_t s = 0; s < std::min(kSide, tokens - t); ++s) {
        BFloat16* const to = y + (t + s) * stride + begin;
        if (count == kRun) {
          std::memcpy(to, square + s * kSide, kRun * sizeof(BFloat16));
        } else {
          std::memcpy(to, square + s * kSide, static_cast<size_t>(count) * sizeof(BFloat16));
        }
      }
    }
  }
}

namespace {

LORA_INLINE void round_row(const float* __restrict sums, int64_t columns, bool add, BFloat16* __restrict out) {
  if (add) {
#pragma omp simd
    for (int64_t i = 0; i < columns; ++i) {
      out[i] = narrowed<BFloat16>(sums[i] + widened(out[i]));
    }
  } else {
#pragma omp simd
    for (int64_t i = 0; i < columns; ++i) {
      out[i] = narrowed<BFloat16>(sums[i]);
    }
  }
}

}  // namespace

LORA_SIMD void store_rows(const float* sums, int64_t rows, int64_t columns, bool add, BFloat16* out, int64_t stride) {
  for (int64_t r = 0; r < rows; ++r) {
    if (columns == kTile) {  // a constant, for which the compiler needs no loop
      round_row(sums + r * columns, kTile, add, out + r * stride);
    } else {
      round_row(sums + r * columns, columns, add, out + r * stride);
    }
  }
}

}  // namespace lora::ops::cpu
