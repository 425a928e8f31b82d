#include "ops/cpu/kernels.h"

namespace lora::ops::cpu {

namespace {

/// act(x) and its derivative.
template <typename W>
struct Value {
  W act;
  W slope;
};

struct Silu {
  template <typename W>
  LORA_INLINE static Value<W> at(W x) {
    const W share = sigmoid(x);
    return {x * share, share * (1 + x * (1 - share))};
  }
};

/// The share of the normal distribution below x.
LORA_INLINE double normal_share(double x) {
  return (1 + std::erf(x * 0.70710678118654752)) / 2;
}
/// Within 3e-7: erfc(z) = t exp(-z² + P(t)) with t = 1 / (1 + z / 2) and P the Chebyshev interpolation of degree 8 on 0 ≤ z ≤ 6. (std::erf
/// is a call for each element.)
LORA_INLINE float normal_share(float x) {
  const float z = (x < 0 ? -x : x) * 0.70710678F, t = 1.0F / (1.0F + 0.5F * z);
  float p = 0.135708255F;
  p = p * t - 0.841516468F;
  p = p * t + 2.08694354F;
  p = p * t - 2.50743183F;
  p = p * t + 1.37326257F;
  p = p * t - 0.467279044F;
  p = p * t + 0.501041392F;
  p = p * t + 0.983904029F;
  p = p * t - 1.26463246F;
  const float half = 0.5F * t * exponential(p - z * z);
  return x < 0 ? half : 1.0F - half;
}

struct Gelu {
  template <typename W>
  LORA_INLINE static Value<W> at(W x) {
    const W below = normal_share(x);
    const W density = exponential(-x * x / 2) * static_cast<W>(0.39894228040143268);
    return {x * below, below + x * density};
  }
};

struct GeluTanh {
  template <typename W>
  LORA_INLINE static Value<W> at(W x) {
    constexpr W kBeta = 0.79788456080286536, kKappa = 0.044715;
    const W inner = kBeta * (x + kKappa * x * x * x);
    const W tanh = 2 * sigmoid(2 * inner) - 1;
    const W below = (1 + tanh) / 2;
    return {x * below, below + x * (1 - tanh * tanh) / 2 * kBeta * (1 + 3 * kKappa * x * x)};
  }
};

struct Relu {
  template <typename W>
  LORA_INLINE static Value<W> at(W x) {
    return {x > 0 ? x : W(0), x > 0 ? W(1) : W(0)};
  }
};

struct ReluSquared {
  template <typename W>
  LORA_INLINE static Value<W> at(W x) {
    const W above = x > 0 ? x : W(0);
    return {above * above, 2 * above};
  }
};

template <typename S, typename Act>
LORA_SIMD void forward(const S* gate, const S* up, S* y, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    y[i] = narrowed<S>(rounded<S>(Act::at(widened(gate[i])).act) * widened(up[i]));
  }
}

template <typename S, typename Act>
LORA_SIMD void backward(const S* dy, const S* gate, const S* up, S* dgate, S* dup, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const Wide<S> d = widened(dy[i]);
    const Value<Wide<S>> value = Act::at(widened(gate[i]));
    dgate[i] = narrowed<S>(rounded<S>(d * widened(up[i])) * value.slope);
    dup[i] = narrowed<S>(d * rounded<S>(value.act));
  }
}

/// Calls `run` with the formula of the kind.
template <typename Run>
void with_formula(Activation kind, const Run& run) {
  switch (kind) {
    case Activation::kSilu:
      return run(Silu());
    case Activation::kGelu:
      return run(Gelu());
    case Activation::kGeluTanh:
      return run(GeluTanh());
    case Activation::kRelu:
      return run(Relu());
    case Activation::kReluSquared:
      return run(ReluSquared());
  }
}

}  // namespace

template <typename S>
void gated_activation(Activation kind, const S* gate, const S* up, S* y, int64_t n) {
  with_formula(kind, [&]<typename Act>(Act) { forward<S, Act>(gate, up, y, n); });
}

template <typename S>
void gated_activation_backward(Activation kind, const S* dy, const S* gate, const S* up, S* dgate, S* dup, int64_t n) {
  with_formula(kind, [&]<typename Act>(Act) { backward<S, Act>(dy, gate, up, dgate, dup, n); });
}

#define LORA_INSTANTIATE(S)                                                       \
  template void gated_activation<S>(Activation, const S*, const S*, S*, int64_t); \
  template void gated_activation_backward<S>(Activation, const S*, const S*, const S*, S*, S*, int64_t);
LORA_INSTANTIATE(float)
LORA_INSTANTIATE(double)
LORA_INSTANTIATE(BFloat16)
LORA_INSTANTIATE(Half)

}  // namespace lora::ops::cpu
