#pragma once
#include <ATen/core/Tensor.h>

#include <optional>

namespace lora::ops {

using at::Tensor;

/// w · (x - mean) / sqrt(variance + eps) + b over the last dimension (Ba et al. 2016, section 3), computed in float32 and
/// rounded once, as torch.nn.LayerNorm does; x of any leading shape. Weight and bias may be missing, and may be trained.
/// It is LibTorch's own kernel, forward and backward: like one of ours it passes each row once and keeps x and two
/// numbers a row, and no gradient of what is frozen is computed.
Tensor layer_norm(const Tensor& x, const std::optional<Tensor>& weight_D, const std::optional<Tensor>& bias_D, double eps);

/// The same as a composition of differentiable ATen operations.
Tensor layer_norm_reference(const Tensor& x, const std::optional<Tensor>& weight_D, const std::optional<Tensor>& bias_D, double eps);

}  // namespace lora::ops
