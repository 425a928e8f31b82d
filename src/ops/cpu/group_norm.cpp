#include "ops/cpu/kernels.h"

namespace lora::ops::cpu {

namespace {

/// silu'(u) · d.
template <typename W>
LORA_INLINE W silu_gradient(W u, W d) {
  const W share = sigmoid(u);
  return d * share * (1 + u * (1 - share));
}

/// The functions below with or without SiLU: the compiler vectorises no loop that has to choose.
template <bool kSilu, typename S>
LORA_INLINE void add_gradient_sums(const S* dy, const S* x, const NormedChannels<S>& normed, Wide<S>* du_sum, Wide<S>* dux_sum,
                                   int64_t rows, int64_t channels) {
  for (int64_t r = 0; r < rows; ++r, x += channels, dy += channels) {
#pragma omp simd
    for (int64_t c = 0; c < channels; ++c) {
      const Wide<S> xhat = (widened(x[c]) - normed.mean[c]) * normed.rstd[c];
      const Wide<S> d = widened(dy[c]);
      const Wide<S> du = kSilu ? silu_gradient(xhat * normed.weight[c] + normed.bias[c], d) : d;
      du_sum[c] += du;
      dux_sum[c] += du * xhat;
    }
  }
}

template <bool kSilu, typename S>
LORA_INLINE void store_gradient(const S* dy, const S* x, const NormedChannels<S>& normed, const Wide<S>* du_mean, const Wide<S>* dux_mean,
                                S* dx, int64_t rows, int64_t channels) {
  for (int64_t r = 0; r < rows; ++r, x += channels, dy += channels, dx += channels) {
#pragma omp simd
    for (int64_t c = 0; c < channels; ++c) {
      const Wide<S> xhat = (widened(x[c]) - normed.mean[c]) * normed.rstd[c];
      const Wide<S> d = widened(dy[c]);
      const Wide<S> du = kSilu ? silu_gradient(xhat * normed.weight[c] + normed.bias[c], d) : d;
      dx[c] = narrowed<S>((du * normed.weight[c] - du_mean[c] - xhat * dux_mean[c]) * normed.rstd[c]);
    }
  }
}

}  // namespace

template <typename S>
LORA_SIMD void channel_sums(const S* x, const S* shift, Wide<S>* sum, Wide<S>* square, int64_t rows, int64_t channels) {
  for (int64_t r = 0; r < rows; ++r, x += channels) {
#pragma omp simd
    for (int64_t c = 0; c < channels; ++c) {
      const Wide<S> d = widened(x[c]) - widened(shift[c]);
      sum[c] += d;
      square[c] += d * d;
    }
  }
}

template <typename S>
LORA_SIMD void scaled_channels(const S* x, const Wide<S>* factor, const Wide<S>* addend, S* y, int64_t rows, int64_t channels, bool silu) {
  for (int64_t r = 0; r < rows; ++r, x += channels, y += channels) {
    if (silu) {
#pragma omp simd
      for (int64_t c = 0; c < channels; ++c) {
        const Wide<S> u = widened(x[c]) * factor[c] + addend[c];
        y[c] = narrowed<S>(u * sigmoid(u));
      }
    } else {
#pragma omp simd
      for (int64_t c = 0; c < channels; ++c) {
        y[c] = narrowed<S>(widened(x[c]) * factor[c] + addend[c]);
      }
    }
  }
}

template <typename S>
LORA_SIMD void channel_gradient_sums(const S* dy, const S* x, const NormedChannels<S>& normed, Wide<S>* du_sum, Wide<S>* dux_sum,
                                     int64_t rows, int64_t channels, bool silu) {
  if (silu) {
    add_gradient_sums<true>(dy, x, normed, du_sum, dux_sum, rows, channels);
  } else {
    add_gradient_sums<false>(dy, x, normed, du_sum, dux_sum, rows, channels);
  }
}

template <typename S>
LORA_SIMD void group_norm_gradient(const S* dy, const S* x, const NormedChannels<S>& normed, const Wide<S>* du_mean,
                                   const Wide<S>* dux_mean, S* dx, int64_t rows, int64_t channels, bool silu) {
  if (silu) {
    store_gradient<true>(dy, x, normed, du_mean, dux_mean, dx, rows, channels);
  } else {
    store_gradient<false>(dy, x, normed, du_mean, dux_mean, dx, rows, channels);
  }
}

#define LORA_INSTANTIATE(S)                                                                                                      \
  template void channel_sums<S>(const S*, const S*, Wide<S>*, Wide<S>*, int64_t, int64_t);                                       \
  template void scaled_channels<S>(const S*, const Wide<S>*, const Wide<S>*, S*, int64_t, int64_t, bool);                        \
  template void channel_gradient_sums<S>(const S*, const S*, const NormedChannels<S>&, Wide<S>*, Wide<S>*, int64_t, int64_t, bool); \
  template void group_norm_gradient<S>(const S*, const S*, const NormedChannels<S>&, const Wide<S>*, const Wide<S>*, S*, int64_t,  \
                                       int64_t, bool);
LORA_INSTANTIATE(float)
LORA_INSTANTIATE(double)
LORA_INSTANTIATE(BFloat16)
LORA_INSTANTIATE(Half)

}  // namespace lora::ops::cpu
