#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

namespace lora::ops::cpu {

/// Whether causal_attention below supports these: on the CPU, in float32, or in bfloat16 if the processor multiplies it.
bool attention_applies(const at::Tensor& q_THE);

struct AttentionResult {
  at::Tensor out_THE;
  at::Tensor softmax_TH2;  ///< kept for backward: each row's largest score and the factor of its exponentials
};

/// Causal attention document by document, each head one tile of queries at a time (the softmax of a row is complete, so nothing is
/// rescaled). Documents and heads are distributed over the threads. Sums are in float32; weights are rounded to the dtype before they
/// multiply values. Tensors are contiguous; `offsets` are DocumentLayout::host_offsets.
AttentionResult causal_attention(const at::Tensor& q_THE, const at::Tensor& k_TKE, const at::Tensor& v_TKE,
                                 const std::vector<int64_t>& offsets, double scale);

struct AttentionGradients {
  at::Tensor dq_THE, dk_TKE, dv_TKE;
};

AttentionGradients causal_attention_backward(const at::Tensor& dout_THE, const at::Tensor& q_THE, const at::Tensor& k_TKE,
                                             const at::Tensor& v_TKE, const AttentionResult& result, const std::vector<int64_t>& offsets,
                                             double scale);

}  // namespace lora::ops::cpu
