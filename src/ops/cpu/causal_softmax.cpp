#include <algorithm>
#include <limits>

#include "kernels.h"

namespace lora::ops::cpu {

LORA_SIMD void causal_softmax(float* scores, float* lse, int64_t lse_stride, int64_t rows, int64_t width, int64_t first) {
  for (int64_t r = 0; r < rows; ++r, scores += width) {
    const int64_t visible = first + r + 1;
    float largest = -std::numeric_limits<float>::infinity();
#pragma omp simd reduction(max : largest)
    for (int64_t i = 0; i < visible; ++i) {
      largest = larger(scores[i], largest);
    }
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < visible; ++i) {
      const float e = exponential(scores[i] - largest);
      scores[i] = e;
      sum += e;
    }
    const float share = 1 / sum;
#pragma omp simd
    for (int64_t i = 0; i < visible; ++i) {
      scores[i] *= share;
    }
    std::fill(scores + visible, scores + width, 0.0F);
    lse[r * lse_stride] = largest + std::log(sum);
  }
}

LORA_SIMD void causal_softmax_backward(float* scores, float* dp, const float* lse, int64_t lse_stride, const float* delta, int64_t rows,
                                       int64_t width, int64_t first, float scale) {
  for (int64_t r = 0; r < rows; ++r, scores += width, dp += width) {
    const int64_t visible = first + r + 1;
    const float shift = lse[r * lse_stride], own = delta[r];
#pragma omp simd
    for (int64_t i = 0; i < visible; ++i) {
      const float p = exponential(scores[i] - shift);
      scores[i] = p;
      dp[i] = p * (dp[i] - own) * scale;
    }
    std::fill(scores + visible, scores + width, 0.0F);
    std::fill(dp + visible, dp + width, 0.0F);
  }
}

}  // namespace lora::ops::cpu
