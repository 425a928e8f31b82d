#include <algorithm>

#include "ops/cpu/kernels.h"

namespace lora::ops::cpu {

template <typename S>
LORA_SIMD void rotate(const S* x, const S* cos, const S* sin, S* y, int64_t rows, int64_t heads, int64_t dim, int64_t rotated,
                      bool backward) {
  const int64_t half = rotated / 2;
  const Wide<S> sign = backward ? -1 : 1;
  for (int64_t r = 0; r < rows; ++r, cos += rotated, sin += rotated) {
    for (int64_t h = 0; h < heads; ++h, x += dim, y += dim) {
      // The halves of the table are equal in every rope, but backward pairs each product with its own entry.
      const S* sin_first = backward ? sin + half : sin;
      const S* sin_second = backward ? sin : sin + half;
#pragma omp simd
      for (int64_t i = 0; i < half; ++i) {
        const Wide<S> first = widened(x[i]), second = widened(x[half + i]);
        y[i] = narrowed<S>(rounded<S>(first * widened(cos[i])) - sign * rounded<S>(second * widened(sin_first[i])));
        y[half + i] = narrowed<S>(rounded<S>(second * widened(cos[half + i])) + sign * rounded<S>(first * widened(sin_second[i])));
      }
      std::copy(x + rotated, x + dim, y + rotated);
    }
  }
}

#define LORA_INSTANTIATE(S) template void rotate<S>(const S*, const S*, const S*, S*, int64_t, int64_t, int64_t, int64_t, bool);
LORA_INSTANTIATE(float)
LORA_INSTANTIATE(double)
LORA_INSTANTIATE(BFloat16)
LORA_INSTANTIATE(Half)

}  // namespace lora::ops::cpu
