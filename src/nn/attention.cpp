#include "lora/nn/attention.h"

#include <ATen/ATen.h>

#include <vector>

#include "lora/nn/kv_cache.h"
#include "lora/ops/attention_dropout.h"
#include "nn/prefixed_documents.h"

namespace lora::nn {

Attention::Attention(const std::string& name, int64_t layer, const HeadSizes& heads, const ops::AttentionOptions& options, double dropout)
    : Host(name), layer_(layer), heads_(heads), options_(options), dropout_(name + ".attention_dropout", dropout) {}

Tensor Attention::forward(const Tensor& q_THE, const Tensor& k_TKE, const Tensor& v_TKE, const Pass& pass) const {
  const std::optional<KeyPrefix> prefix = prefix_in_use(k_TKE, pass);
  if (pass.cache != nullptr) {
    pass.cache->store(layer_, k_TKE, v_TKE, prefix);
    return ops::cached_attention(q_THE, pass.cache->keys(layer_), pass.cache->values(layer_), pass.layout(), pass.cache->layout(),
                                 options_);
  }
  ops::DropoutDraw draw = dropout_.draw(pass);
  if (!prefix) {
    return within_documents(q_THE, k_TKE, v_TKE, pass.layout(), draw);
  }
  const PrefixedDocuments documents(pass.layout(), prefix->keys_NKE.size(0));
  if (draw.active()) {
    draw.row_keys_T = documents.with_zeros(draw.row_keys_T);
  }
  return documents.own(within_documents(documents.with_zeros(q_THE), documents.with_prefix(prefix->keys_NKE, k_TKE),
                                        documents.with_prefix(prefix->values_NKE, v_TKE), documents.layout(), draw));
}

Tensor Attention::within_documents(const Tensor& q_THE, const Tensor& k_TKE, const Tensor& v_TKE, const ops::DocumentLayout& layout,
                                   const ops::DropoutDraw& draw) const {
  return draw.active() ? ops::document_attention_with_dropout(q_THE, k_TKE, v_TKE, layout, options_, draw)
                       : ops::document_attention(q_THE, k_TKE, v_TKE, layout, options_);
}

std::optional<KeyPrefix> Attention::prefix_in_use(const Tensor& k_TKE, const Pass& pass) const {
  std::vector<Tensor> keys, values;
  for (const std::unique_ptr<Attachment>& attachment : attachments()) {
    if (attachment->enabled) {
      const KeyPrefix own = attachment->key_prefix(pass);
      keys.push_back(own.keys_NKE.to(k_TKE.scalar_type()));
      values.push_back(own.values_NKE.to(k_TKE.scalar_type()));
    }
  }
  return keys.empty() ? std::nullopt : std::optional(KeyPrefix{at::cat(keys), at::cat(values)});
}

int64_t Attention::prefix_length() const {
  int64_t length = 0;
  for (const std::unique_ptr<Attachment>& attachment : attachments()) {
    length += attachment->enabled ? attachment->prefix_length() : 0;
  }
  return length;
}

Kept Attention::kept_by_row() const {
  return {2 * (heads_.num_heads + heads_.num_key_value_heads) * heads_.head_dim, 2 * heads_.num_heads};
}

Kept Attention::kept() const {
  Kept kept = kept_by_row();
  for (const std::unique_ptr<Attachment>& attachment : attachments()) {
    kept += attachment->enabled ? attachment->kept(heads_.num_key_value_heads * heads_.head_dim) : Kept{};
  }
  kept.elements += prefix_length() > 0 ? heads_.num_heads * heads_.head_dim : 0;  // the rows of the result without those of the prefix
  return kept;
}

Kept Attention::kept_per_document() const {
  return prefix_length() * kept_by_row();
}

}  // namespace lora::nn
