#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace lora::ops {

using at::Tensor;

/// How channels are normed together.
struct GroupNormOptions {
  int64_t groups;
  double eps;
  bool silu = false;  ///< whether SiLU follows, in the same pass over memory
};

/// w · (x - mean) / sqrt(variance + eps) + b with mean and variance over the pixels and the channels of each group (Wu & He 2018), then
/// SiLU if the options say so. x and y are [N, ..., C] with the channels last, as C of torch.nn.GroupNorm; weight and bias may be trained.
/// Sums are in float32 or wider, and the result is rounded once. Keeps x and two numbers per image and group, and no copy for SiLU.
Tensor group_norm(const Tensor& x, const Tensor& weight_C, const Tensor& bias_C, const GroupNormOptions& options);

/// The same as a composition of differentiable ATen operations.
Tensor group_norm_reference(const Tensor& x, const Tensor& weight_C, const Tensor& bias_C, const GroupNormOptions& options);

}  // namespace lora::ops
