#pragma once
#include <ATen/core/Tensor.h>

#include <utility>

namespace lora::ops {

using at::Tensor;

/// Rotary position embedding (Su et al. 2021, section 3.4.2, with halves instead of pairs, as in transformers) of queries and keys:
/// x · cos + rotate_half(x) · sin on the first R channels of every head; the others are unchanged. Keeps only the tables.
/// @param cos_TR, sin_TR in q's dtype; R ≤ E, even.
/// @return the rotated q_THE and k_TKE.
std::pair<Tensor, Tensor> rotary_embedding(const Tensor& q_THE, const Tensor& k_TKE, const Tensor& cos_TR, const Tensor& sin_TR);

/// The rotation of one tensor as a composition of differentiable ATen operations.
Tensor rotary_embedding_reference(const Tensor& x_THE, const Tensor& cos_TR, const Tensor& sin_TR);

}  // namespace lora::ops
