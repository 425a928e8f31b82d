#pragma once
#include <ATen/core/Tensor.h>

#include <utility>

namespace lora::ops {

using at::Tensor;

/// Rotary position embedding (Su et al. 2021, section 3.4.2, with halves instead of pairs, as in transformers) of queries
/// and keys: x · cos + rotate_half(x) · sin on the first R channels of every head; the others stay. Keeps the tables alone.
/// @param cos_TR of q's dtype, sin_TR likewise; R ≤ E, even.
/// @return q_THE and k_TKE turned.
std::pair<Tensor, Tensor> rotary_embedding(const Tensor& q_THE, const Tensor& k_TKE, const Tensor& cos_TR, const Tensor& sin_TR);

/// One of them as a composition of differentiable ATen operations.
Tensor rotary_embedding_reference(const Tensor& x_THE, const Tensor& cos_TR, const Tensor& sin_TR);

}  // namespace lora::ops
