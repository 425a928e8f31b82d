#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>

#include "lora/nn/dropout.h"
#include "lora/nn/host.h"
#include "lora/nn/pass.h"
#include "lora/ops/attention.h"

namespace lora::nn {

/// The sizes of attention: num_attention_heads query heads of head_dim channels, num_key_value_heads key heads.
struct HeadSizes {
  int64_t num_heads;
  int64_t num_key_value_heads;
  int64_t head_dim;
  bool operator==(const HeadSizes&) const = default;
};

/// The attention of one layer, between the projections of its queries, keys and values and that of its output. Families reach ops/ only
/// through it. It is also where a method can attach keys and values that every token sees (prefix tuning): a tap, hence not among a
/// model's hosts, with the name of the block in transformers.
class Attention : public Host {
 public:
  /// @param layer from 0, in the order in which a pass visits the layers: selects its keys in a cache.
  /// @param dropout rate for the attention probabilities, if the base model trains with it; its draws depend on `name`.
  Attention(const std::string& name, int64_t layer, const HeadSizes& heads, const ops::AttentionOptions& options, double dropout = 0.0);

  const char* kind() const override { return "Attention"; }
  bool can_be_saved() const override { return false; }
  const HeadSizes& heads() const { return heads_; }

  /// Attention of the pass's tokens within their documents, including the keys that the adapter in use puts before each document
  /// (Attachment::key_prefix) and the tokens that the pass's cache holds; the new keys and values are added to the cache. q_THE, k_TKE
  /// (both rotated) and v_TKE → [T, H, E].
  Tensor forward(const Tensor& q_THE, const Tensor& k_TKE, const Tensor& v_TKE, const Pass& pass) const;

  /// The number of keys before each document's.
  int64_t prefix_length() const;
  /// What a pass keeps of it per token until backward, with what is attached.
  Kept kept() const;
  /// What a pass keeps per document: the same for the rows of the keys before it.
  Kept kept_per_document() const;

 private:
  /// By one query with its key: both, its value, the heads' results, and the softmax's maximum and sum.
  Kept kept_by_row() const;
  /// The prefixes in use, one after the other, in the dtype of `k_TKE`; none if there is none.
  std::optional<KeyPrefix> prefix_in_use(const Tensor& k_TKE, const Pass& pass) const;
  Tensor within_documents(const Tensor& q_THE, const Tensor& k_TKE, const Tensor& v_TKE, const ops::DocumentLayout& layout,
                          const ops::DropoutDraw& draw) const;

  int64_t layer_;
  HeadSizes heads_;
  ops::AttentionOptions options_;
  Dropout dropout_;
};

}  // namespace lora::nn
