// Compiled with -fno-math-errno (src/CMakeLists.txt), without which no loop with a square root is vectorised; this rules out the
// precompiled header. No instructions beyond the platform's baseline: the bits are the same on every CPU, and the updates are limited
// by memory bandwidth, not by arithmetic.
#include "optim/kernels.h"

#include <ATen/OpMathType.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

namespace lora::optim {

namespace {

/// g times the scale, rounded to the dtype of the gradient.
template <typename Scalar, typename Compute>
Compute scaled(Scalar gradient, Compute scale) {
  return static_cast<Compute>(static_cast<Scalar>(static_cast<Compute>(gradient) * scale));
}

void dequantize(int64_t count, QuantizedMoment moment, float* values) {
  for (int64_t i = 0; i < count; ++i) {
    values[i] = moment.map->values[moment.codes[i]] * *moment.absmax;
  }
}

uint8_t nearest_code(const QuantizationMap& map, float x) {
  const uint8_t first = map.first_codes[std::bit_cast<uint32_t>(x) >> 16];
  return static_cast<uint8_t>(first + (map.midpoints[first] < x ? 1 : 0));
}

void quantize(int64_t count, const float* values, QuantizedMoment moment) {
  float largest = 0.0F;
  for (int64_t i = 0; i < count; ++i) {
    largest = std::max(largest, std::abs(values[i]));
  }
  *moment.absmax = largest;
  const float inverse = 1.0F / std::max(largest, 1e-38F);  // a block of zeros stays zero
  for (int64_t i = 0; i < count; ++i) {
    moment.codes[i] = nearest_code(*moment.map, values[i] * inverse);
  }
}

}  // namespace

template <typename Scalar, typename Moment>
void lion_update(const LionFactors& factors, int64_t count, Scalar* __restrict parameter, const Scalar* __restrict gradient,
                 Moment* __restrict exp_avg) {
  using Compute = at::opmath_type<Scalar>;
  const auto scale = static_cast<Compute>(factors.gradient_scale);
  const auto beta1 = static_cast<Compute>(factors.beta1);
  const auto beta1_rest = static_cast<Compute>(1.0 - factors.beta1);
  const auto beta2 = static_cast<Compute>(factors.beta2);
  const auto beta2_rest = static_cast<Compute>(1.0 - factors.beta2);
  const auto decay = static_cast<Compute>(factors.decay);
  const auto rate = static_cast<Compute>(factors.rate);
  for (int64_t i = 0; i < count; ++i) {
    const Compute g = scaled(gradient[i], scale);
    const auto m = static_cast<Compute>(exp_avg[i]);
    const Compute direction = m * beta1 + g * beta1_rest;
    const Compute sign = static_cast<Compute>(direction > 0) - static_cast<Compute>(direction < 0);
    parameter[i] = static_cast<Scalar>(static_cast<Compute>(parameter[i]) * decay - rate * sign);
    exp_avg[i] = static_cast<Moment>(m * beta2 + g * beta2_rest);
  }
}

AdamWFactors adamw_factors(const OptimizerOptions& options, double learning_rate, double weight_decay, double step, double gradient_scale) {
  return {gradient_scale,
          options.beta1,
          options.beta2,
          options.epsilon,
          1.0 - learning_rate * weight_decay,
          learning_rate / (1.0 - std::pow(options.beta1, step)),
          std::sqrt(1.0 - std::pow(options.beta2, step))};
}

template <typename Scalar, typename Moment>
void adamw_update(const AdamWFactors& factors, int64_t count, Scalar* __restrict parameter, const Scalar* __restrict gradient,
                  Moment* __restrict exp_avg, Moment* __restrict exp_avg_sq) {
  using Compute = at::opmath_type<Scalar>;
  const auto scale = static_cast<Compute>(factors.gradient_scale);
  const auto beta1 = static_cast<Compute>(factors.beta1);
  const auto beta1_rest = static_cast<Compute>(1.0 - factors.beta1);
  const bool mostly_new = beta1_rest >= Compute(0.5);  // from the nearer end, as torch's lerp: exact if beta1 is 0
  const auto beta2 = static_cast<Compute>(factors.beta2);
  const auto beta2_rest = static_cast<Compute>(1.0 - factors.beta2);
  const auto epsilon = static_cast<Compute>(factors.epsilon);
  const auto decay = static_cast<Compute>(factors.decay);
  const auto rate = static_cast<Compute>(factors.rate);
  const auto correction2 = static_cast<Compute>(factors.correction2);
  for (int64_t i = 0; i < count; ++i) {
    const Compute g = scaled(gradient[i], scale);
    const auto before = static_cast<Compute>(exp_avg[i]);
    const Compute m = mostly_new ? g - beta1 * (g - before) : before + beta1_rest * (g - before);
    const Compute v = static_cast<Compute>(exp_avg_sq[i]) * beta2 + beta2_rest * g * g;
    exp_avg[i] = static_cast<Moment>(m);
    exp_avg_sq[i] = static_cast<Moment>(v);
    const Compute divisor = std::sqrt(v) / correction2 + epsilon;
    parameter[i] = static_cast<Scalar>(static_cast<Compute>(parameter[i]) * decay - rate * m / divisor);
  }
}

template <typename Scalar>
void adamw_8bit_update(const AdamWFactors& factors, int64_t count, Scalar* parameter, const Scalar* gradient, QuantizedMoment exp_avg,
                       QuantizedMoment exp_avg_sq) {
  std::array<float, kQuantizationBlock> m;
  std::array<float, kQuantizationBlock> v;
  for (int64_t done = 0; done < count; done += kQuantizationBlock) {
    const int64_t size = std::min(kQuantizationBlock, count - done);
    dequantize(size, exp_avg, m.data());
    dequantize(size, exp_avg_sq, v.data());
    adamw_update(factors, size, parameter + done, gradient + done, m.data(), v.data());
    quantize(size, m.data(), exp_avg);
    quantize(size, v.data(), exp_avg_sq);
    for (QuantizedMoment* moment : {&exp_avg, &exp_avg_sq}) {
      moment->codes += size;
      ++moment->absmax;
    }
  }
}

template <typename Scalar>
void lion_8bit_update(const LionFactors& factors, int64_t count, Scalar* parameter, const Scalar* gradient, QuantizedMoment exp_avg) {
  std::array<float, kQuantizationBlock> m;
  for (int64_t done = 0; done < count; done += kQuantizationBlock) {
    const int64_t size = std::min(kQuantizationBlock, count - done);
    dequantize(size, exp_avg, m.data());
    lion_update(factors, size, parameter + done, gradient + done, m.data());
    quantize(size, m.data(), exp_avg);
    exp_avg.codes += size;
    ++exp_avg.absmax;
  }
}

template <typename Scalar>
double sum_of_squares(int64_t count, const Scalar* values) {
  constexpr int64_t kLanes = 16;  // independent sums, for SIMD
  double sums[kLanes] = {};       // a plain array: its index is not checked
  const int64_t whole = count - count % kLanes;
  for (int64_t i = 0; i < whole; i += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      const auto value = static_cast<double>(values[i + lane]);
      sums[lane] += value * value;
    }
  }
  for (int64_t i = whole; i < count; ++i) {
    const auto value = static_cast<double>(values[i]);
    sums[i - whole] += value * value;
  }
  double total = 0.0;
  for (const double sum : sums) {
    total += sum;
  }
  return total;
}

#define LORA_KERNELS(Scalar)                                                                                               \
  template void lion_update(const LionFactors&, int64_t, Scalar*, const Scalar*, Scalar*);                                 \
  template void adamw_update(const AdamWFactors&, int64_t, Scalar*, const Scalar*, Scalar*, Scalar*);                      \
  template void adamw_8bit_update(const AdamWFactors&, int64_t, Scalar*, const Scalar*, QuantizedMoment, QuantizedMoment); \
  template void lion_8bit_update(const LionFactors&, int64_t, Scalar*, const Scalar*, QuantizedMoment);                    \
  template double sum_of_squares(int64_t, const Scalar*);
LORA_KERNELS(float)
LORA_KERNELS(double)
LORA_KERNELS(c10::Half)
LORA_KERNELS(c10::BFloat16)
#undef LORA_KERNELS

// bitsandbytes' optimisers keep moments in float32, those of 8 bits for their small tensors.
#define LORA_FLOAT32_MOMENTS(Scalar)                                                      \
  template void lion_update(const LionFactors&, int64_t, Scalar*, const Scalar*, float*); \
  template void adamw_update(const AdamWFactors&, int64_t, Scalar*, const Scalar*, float*, float*);
LORA_FLOAT32_MOMENTS(double)
LORA_FLOAT32_MOMENTS(c10::Half)
LORA_FLOAT32_MOMENTS(c10::BFloat16)
#undef LORA_FLOAT32_MOMENTS

}  // namespace lora::optim
