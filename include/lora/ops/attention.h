#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

namespace lora::ops {

using at::Tensor;

/// Where each document begins in a packed sequence of T tokens.
struct DocumentLayout {
  const Tensor& offsets;                     ///< int32 [D+1] on the device (cu_seqlens)
  const std::vector<int64_t>& host_offsets;  ///< the same on the host
  int64_t max_document;
  bool is_replayed = false;  ///< the host's offsets do not hold for every run (TokenBatch::is_replayed)
};

/// What becomes of the scores of queries and keys.
struct AttentionOptions {
  double scale = 1.0;                             ///< what they are multiplied by
  std::optional<int64_t> window = std::nullopt;   ///< a token sees itself and the window - 1 tokens before it
  std::optional<double> soft_cap = std::nullopt;  ///< scores become cap · tanh(score / cap)
  /// A token sees the earlier ones of its document and itself. Else the later ones too, and a window reaches as far ahead as back.
  bool causal = true;
};

/// Attention of each token to its own document; differentiable.
/// q_THE has H heads, k_TKE and v_TKE have K heads with H a multiple of K (grouped-query attention: query heads h·H/K …
/// read key head h). CUDA in half precision: flash attention by cu_seqlens; the CPU in float32 and bfloat16: kernels of
/// our own where it is causal, on documents and heads in parallel; elsewhere SDPA document by document (documents of one length in one
/// call). A soft cap, and a window but for flash attention: blocks of queries by ATen's operations. Throws c10::Error where `is_replayed`
/// asks for offsets that are read on the device alone and it is not flash attention.
Tensor document_attention(const Tensor& q_THE, const Tensor& k_TKE, const Tensor& v_TKE, const DocumentLayout& layout,
                          const AttentionOptions& options);

/// The formula as it stands in Vaswani et al. 2017, section 3.2.1, with a mask over all T × T pairs; softmax in float32
/// or wider.
Tensor document_attention_reference(const Tensor& q_THE, const Tensor& k_TKE, const Tensor& v_TKE, const DocumentLayout& layout,
                                    const AttentionOptions& options);

/// Where each document's keys stand among the S places of a cache: in the first lengths[d] from begins[d] on.
struct KeyLayout {
  const Tensor& begins;                      ///< int32 [D+1] on the device, rising; the last is S
  const Tensor& lengths;                     ///< int32 [D] on the device
  const std::vector<int64_t>& host_begins;   ///< the same on the host
  const std::vector<int64_t>& host_lengths;  ///< the same on the host
  int64_t max_length;
};

/// Causal attention of T new tokens to keys that are kept in a cache: a document's queries are its last tokens, and their
/// own keys are in the cache already. Not differentiable. CUDA in half precision: flash attention, which reads each
/// document's part of the cache; elsewhere SDPA document by document.
Tensor cached_attention(const Tensor& q_THE, const Tensor& k_SKE, const Tensor& v_SKE, const DocumentLayout& queries, const KeyLayout& keys,
                        const AttentionOptions& options);

/// The same by the plain formula, document by document.
Tensor cached_attention_reference(const Tensor& q_THE, const Tensor& k_SKE, const Tensor& v_SKE, const DocumentLayout& queries,
                                  const KeyLayout& keys, const AttentionOptions& options);

}  // namespace lora::ops
