#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

namespace lora::ops::cpu {

/// Whether causal_attention below computes these: float32 on the CPU, with a LibTorch that lends its BLAS.
bool attention_applies(const at::Tensor& q_THE);

struct AttentionResult {
  at::Tensor out_THE;
  at::Tensor lse_TH;  ///< logarithm of the sum of exponentials, kept for backward
};

/// Causal attention document by document, each head a block of queries at a time (the softmax of a row is complete, so
/// nothing is rescaled; Dao 2023, section 3.1 gives the backward). Documents and heads go to the threads; nothing is
/// copied or padded. Contiguous tensors; `offsets` as in DocumentLayout::host_offsets.
AttentionResult causal_attention(const at::Tensor& q_THE, const at::Tensor& k_TKE, const at::Tensor& v_TKE,
                                 const std::vector<int64_t>& offsets, double scale);

struct AttentionGradients {
  at::Tensor dq_THE, dk_TKE, dv_TKE;
};

AttentionGradients causal_attention_backward(const at::Tensor& dout_THE, const at::Tensor& q_THE, const at::Tensor& k_TKE,
                                             const at::Tensor& v_TKE, const AttentionResult& result, const std::vector<int64_t>& offsets,
                                             double scale);

}  // namespace lora::ops::cpu
