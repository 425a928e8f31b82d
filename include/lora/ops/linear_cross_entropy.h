#pragma once
#include <ATen/core/Tensor.h>

#include <optional>

namespace lora::ops {

using at::Tensor;

/// Sum over S positions of the cross-entropy between h_SD W_VDᵀ (+ b) and the labels, float32 scalar.
/// The logits exist for one chunk of positions at a time; the gradients of h (and of W and b, where they are trained)
/// are computed in the forward pass (Wijmans et al. 2024, "Cut Your Losses", section 3; chunked as in Liger-Kernel).
/// Logits are rounded to h's dtype and the loss computed in float32 (float64 for float64), as transformers does.
/// @param labels_S int64, every one in [0, V).
Tensor linear_cross_entropy(const Tensor& h_SD, const Tensor& W_VD, const std::optional<Tensor>& bias_V, const Tensor& labels_S);

/// The same with all logits at once, by differentiable ATen operations.
Tensor linear_cross_entropy_reference(const Tensor& h_SD, const Tensor& W_VD, const std::optional<Tensor>& bias_V, const Tensor& labels_S);

/// The loss of each position, [S] float32, without gradients and in chunks: evaluation.
Tensor linear_token_losses(const Tensor& h_SD, const Tensor& W_VD, const std::optional<Tensor>& bias_V, const Tensor& labels_S);

}  // namespace lora::ops
