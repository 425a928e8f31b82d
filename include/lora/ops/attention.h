#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace lora::ops {

using at::Tensor;

/// Where each document begins in a packed sequence of T tokens.
struct DocumentLayout {
  const Tensor& offsets;                     ///< int32 [D+1] on the device (cu_seqlens)
  const std::vector<int64_t>& host_offsets;  ///< the same on the host
  int64_t max_document;
};

/// Causal attention of each token to its own document's earlier tokens and itself; differentiable.
/// q_THE has H heads, k_TKE and v_TKE have K heads with H a multiple of K (grouped-query attention: query heads h·H/K …
/// read key head h). CUDA in half precision: flash attention by cu_seqlens; elsewhere SDPA document by document
/// (documents of one length in one call).
Tensor causal_attention(const Tensor& q_THE, const Tensor& k_TKE, const Tensor& v_TKE, const DocumentLayout& layout, double scale);

/// The formula as it stands in Vaswani et al. 2017, section 3.2.1, with a mask over all T × T pairs; softmax in float32
/// or wider.
Tensor causal_attention_reference(const Tensor& q_THE, const Tensor& k_TKE, const Tensor& v_TKE, const DocumentLayout& layout,
                                  double scale);

}  // namespace lora::ops
