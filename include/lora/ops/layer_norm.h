#pragma once
#include <ATen/core/Tensor.h>

#include <optional>

namespace lora::ops {

using at::Tensor;

/// w · (x - mean) / sqrt(variance + eps) + b over the last dimension (Ba et al. 2016, section 3), computed in float32 and rounded
/// once, as by torch.nn.LayerNorm; x has any leading shape. Weight and bias are optional and may be trained. This is LibTorch's own
/// kernel, forward and backward: it reads each row once, keeps x and two numbers per row, and computes no gradient of frozen tensors.
Tensor layer_norm(const Tensor& x, const std::optional<Tensor>& weight_D, const std::optional<Tensor>& bias_D, double eps);

/// The same as a composition of differentiable ATen operations.
Tensor layer_norm_reference(const Tensor& x, const std::optional<Tensor>& weight_D, const std::optional<Tensor>& bias_D, double eps);

}  // namespace lora::ops
