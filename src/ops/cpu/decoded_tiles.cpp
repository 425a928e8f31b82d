#include "ops/cpu/decoded_tiles.h"

#include <algorithm>

#include "ops/cpu/attention_tiles.h"

namespace lora::ops::cpu {

LORA_SIMD void store_transposed(const float* sums, int64_t rows, int64_t tokens, const BFloat16* bias, BFloat16* y, int64_t stride) {
  constexpr int64_t kRun = 32;  // a cache line of y
  BFloat16 elements[kRun][kTile + 2];
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
    for (int64_t t = 0; t < tokens; ++t) {
      for (int64_t r = 0; r < count; ++r) {
        y[t * stride + begin + r] = elements[r][t];
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
