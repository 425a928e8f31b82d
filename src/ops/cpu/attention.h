#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

namespace lora::ops::cpu {

/// Whether attention() below supports these: on the CPU, in float32, or in bfloat16 if the processor multiplies it.
bool attention_applies(const at::Tensor& q_THE);

/// Where each document's queries and keys begin, as DocumentLayout::host_offsets, and whether a query only sees itself and earlier keys,
/// for which both are the same tokens.
struct AttentionPlaces {
  std::vector<int64_t> queries, keys;
  bool causal = true;
};

struct AttentionResult {
  at::Tensor out_THE;
  at::Tensor softmax_TH2;  ///< kept for backward: each row's largest score and the factor of its exponentials
};

/// Attention document by document, each head one tile of queries at a time (the softmax of a row is complete, so nothing is
/// rescaled). Documents and heads are distributed over the threads. Sums are in float32; weights are rounded to the dtype before they
/// multiply values. Tensors are contiguous.
AttentionResult attention(const at::Tensor& q_THE, const at::Tensor& k_SKE, const at::Tensor& v_SKE, const AttentionPlaces& places,
                          double scale);

struct AttentionGradients {
  at::Tensor dq_THE, dk_SKE, dv_SKE;
};

AttentionGradients attention_backward(const at::Tensor& dout_THE, const at::Tensor& q_THE, const at::Tensor& k_SKE,
                                      const at::Tensor& v_SKE, const AttentionResult& result, const AttentionPlaces& places, double scale);

}  // namespace lora::ops::cpu
