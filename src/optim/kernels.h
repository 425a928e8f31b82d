#pragma once
#include <cstdint>

#include "lora/optim/options.h"
#include "lora/quantization/dynamic_map.h"

namespace lora::optim {

// Updates of `count` consecutive elements, for float, double, at::Half and at::BFloat16. Each reads and writes every element once;
// half types are computed in float32. The gradient is multiplied by `gradient_scale` and rounded to its dtype, as a clipped gradient
// that is written back would be.

struct LionFactors {
  double gradient_scale;
  double beta1;
  double beta2;
  double decay;  ///< factor by which weight decay multiplies the parameter
  double rate;
};

/// Lion (Chen et al. 2023, algorithm 2).
template <typename Scalar, typename Moment>
void lion_update(const LionFactors& factors, int64_t count, Scalar* parameter, const Scalar* gradient, Moment* exp_avg);

struct AdamWFactors {
  double gradient_scale;
  double beta1;
  double beta2;
  double epsilon;
  double decay;        ///< factor by which weight decay multiplies the parameter
  double rate;         ///< learning rate / (1 - beta1^step)
  double correction2;  ///< sqrt(1 - beta2^step)
};

/// @param step of the parameter, from 1
AdamWFactors adamw_factors(const OptimizerOptions& options, double learning_rate, double weight_decay, double step, double gradient_scale);

/// AdamW (Loshchilov & Hutter 2019, algorithm 2) in the order of operations of torch's fused kernel.
template <typename Scalar, typename Moment>
void adamw_update(const AdamWFactors& factors, int64_t count, Scalar* parameter, const Scalar* gradient, Moment* exp_avg,
                  Moment* exp_avg_sq);

/// Elements that share one scale of 8-bit moments.
inline constexpr int64_t kQuantizationBlock = 256;

using quantization::dynamic_map;
using quantization::QuantizationMap;

/// One moment in 8 bits: one code per element, and the largest magnitude of each block.
struct QuantizedMoment {
  uint8_t* codes;
  float* absmax;
  const QuantizationMap* map;
};

/// adamw_update with moments that are dequantised before and quantised after it, one block at a time. The pointers are at the first
/// element of a block.
template <typename Scalar>
void adamw_8bit_update(const AdamWFactors& factors, int64_t count, Scalar* parameter, const Scalar* gradient, QuantizedMoment exp_avg,
                       QuantizedMoment exp_avg_sq);

/// lion_update with a moment that is dequantised before and quantised after it, in the same way.
template <typename Scalar>
void lion_8bit_update(const LionFactors& factors, int64_t count, Scalar* parameter, const Scalar* gradient, QuantizedMoment exp_avg);

/// The sum of squares in float64, in an order that depends only on `count`.
template <typename Scalar>
double sum_of_squares(int64_t count, const Scalar* values);

}  // namespace lora::optim
