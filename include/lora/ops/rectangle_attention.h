#pragma once
#include <ATen/core/Tensor.h>

namespace lora::ops {

using at::Tensor;

/// softmax(q kᵀ · scale) v for N images, each with L queries and S keys of its own, H heads of E channels; nothing is masked (Vaswani et
/// al. 2017, section 3.2.1). q is [N, L, H, E], k and v are [N, S, H, E]; the result is [N, L, H, E], contiguous. Keeps q, k, v, the result
/// and at most two numbers per query and head; differentiable. On the CPU in float32 and bfloat16: the program's own kernels, with images
/// and heads in parallel; elsewhere SDPA.
Tensor rectangle_attention(const Tensor& q_NLHE, const Tensor& k_NSHE, const Tensor& v_NSHE, double scale);

/// The same by the plain formula; softmax in float32 or wider.
Tensor rectangle_attention_reference(const Tensor& q_NLHE, const Tensor& k_NSHE, const Tensor& v_NSHE, double scale);

}  // namespace lora::ops
