#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

namespace lora::ops {

using at::Tensor;

/// Where each document begins in a packed sequence of T tokens.
struct DocumentLayout {
  Tensor offsets;                     ///< int32 [D+1] on the device (cu_seqlens)
  std::vector<int64_t> host_offsets;  ///< the same on the host, so that no CPU loop waits for a device
  int64_t max_document = 0;           ///< length of the longest document
  bool is_replayed = false;  ///< a graph replays work with other offsets of the same shape: the host's only hold for the recorded one
};

/// How the scores of queries and keys are transformed and masked.
struct AttentionOptions {
  double scale = 1.0;                             ///< factor of the scores
  std::optional<int64_t> window = std::nullopt;   ///< a token sees itself and the window - 1 tokens before it
  std::optional<double> soft_cap = std::nullopt;  ///< scores become cap · tanh(score / cap)
  /// Whether a token only sees itself and earlier tokens of its document. If not, a window reaches as far forward as back.
  bool causal = true;
};

/// Attention of each token within its document; differentiable.
/// q_THE has H heads; k_TKE and v_TKE have K heads, and H is a multiple of K (grouped-query attention: query head h reads key head
/// ⌊h·K/H⌋). On CUDA in half precision: flash attention with cu_seqlens. On the CPU in float32 and bfloat16, if causal: the program's
/// own kernels, with documents and heads in parallel. Elsewhere: SDPA document by document (documents of equal length in one call).
/// With a soft cap, or a window outside flash attention: blocks of queries by ATen's operations. Throws c10::Error if `is_replayed`
/// requires offsets that are only read on the device and the case is not flash attention's.
Tensor document_attention(const Tensor& q_THE, const Tensor& k_TKE, const Tensor& v_TKE, const DocumentLayout& layout,
                          const AttentionOptions& options);

/// The formula of Vaswani et al. 2017, section 3.2.1, with a mask over all T × T pairs; softmax in float32 or wider.
Tensor document_attention_reference(const Tensor& q_THE, const Tensor& k_TKE, const Tensor& v_TKE, const DocumentLayout& layout,
                                    const AttentionOptions& options);

/// Where each document's keys are among the S slots of a cache: the first lengths[d] from begins[d] on.
struct KeyLayout {
  const Tensor& begins;                      ///< int32 [D+1] on the device, ascending; the last is S
  const Tensor& lengths;                     ///< int32 [D] on the device
  const std::vector<int64_t>& host_begins;   ///< the same on the host
  const std::vector<int64_t>& host_lengths;  ///< the same on the host
  int64_t max_length;
};

/// Causal attention of T new tokens to keys in a cache: a document's queries are its last tokens, and their own keys are already in
/// the cache. Not differentiable. On CUDA in half precision: flash attention, which reads each document's part of the cache; elsewhere
/// SDPA document by document.
Tensor cached_attention(const Tensor& q_THE, const Tensor& k_SKE, const Tensor& v_SKE, const DocumentLayout& queries, const KeyLayout& keys,
                        const AttentionOptions& options);

/// The same by the plain formula, document by document.
Tensor cached_attention_reference(const Tensor& q_THE, const Tensor& k_SKE, const Tensor& v_SKE, const DocumentLayout& queries,
                                  const KeyLayout& keys, const AttentionOptions& options);

}  // namespace lora::ops
