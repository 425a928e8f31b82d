#include "ops/cpu/kernels.h"

namespace lora::ops::cpu {

// Sums are in float64: this costs little compared to the memory traffic, and an error in a sum affects its whole row.

template <typename S>
LORA_SIMD void rms_norm(const S* x, const S* weight, S* y, Wide<S>* rstd, int64_t rows, int64_t dim, double eps) {
  for (int64_t r = 0; r < rows; ++r, x += dim, y += dim) {
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < dim; ++i) {
      sum += static_cast<double>(widened(x[i])) * widened(x[i]);
    }
    const auto scale = static_cast<Wide<S>>(1 / std::sqrt(sum / static_cast<double>(dim) + eps));
    rstd[r] = scale;
#pragma omp simd
    for (int64_t i = 0; i < dim; ++i) {
      y[i] = narrowed<S>(rounded<S>(widened(x[i]) * scale) * widened(weight[i]));
    }
  }
}

template <typename S>
LORA_SIMD void rms_norm_backward(const S* dy, const S* x, const S* weight, const Wide<S>* rstd, S* dx, int64_t rows, int64_t dim) {
  for (int64_t r = 0; r < rows; ++r, dy += dim, x += dim, dx += dim) {
    const Wide<S> scale = rstd[r];
    double dot = 0;
#pragma omp simd reduction(+ : dot)
    for (int64_t i = 0; i < dim; ++i) {
      dot += static_cast<double>(rounded<S>(widened(dy[i]) * widened(weight[i]))) * widened(x[i]);
    }
    const auto pull = static_cast<Wide<S>>(dot * scale * scale / static_cast<double>(dim));
#pragma omp simd
    for (int64_t i = 0; i < dim; ++i) {
      dx[i] = narrowed<S>((rounded<S>(widened(dy[i]) * widened(weight[i])) - widened(x[i]) * pull) * scale);
    }
  }
}

#define LORA_INSTANTIATE(S)                                                              \
  template void rms_norm<S>(const S*, const S*, S*, Wide<S>*, int64_t, int64_t, double); \
  template void rms_norm_backward<S>(const S*, const S*, const S*, const Wide<S>*, S*, int64_t, int64_t);
LORA_INSTANTIATE(float)
LORA_INSTANTIATE(double)
LORA_INSTANTIATE(BFloat16)
LORA_INSTANTIATE(Half)

}  // namespace lora::ops::cpu
