#include "lora/nn/attention.h"

#include "lora/nn/kv_cache.h"
#include "lora/ops/attention_dropout.h"

namespace lora::nn {

Attention::Attention(const std::string& name, int64_t layer, const ops::AttentionOptions& options, double dropout)
    : Host(name), layer_(layer), options_(options), dropout_(name + ".attention_dropout", dropout) {}

Tensor Attention::forward(const Tensor& q_THE, const Tensor& k_TKE, const Tensor& v_TKE, const Pass& pass) const {
  if (dropout_.active(pass)) {
    return ops::document_attention_with_dropout(q_THE, k_TKE, v_TKE, pass.layout(), options_, dropout_.draw(pass));
  }
  if (pass.cache == nullptr) {
    return ops::document_attention(q_THE, k_TKE, v_TKE, pass.layout(), options_);
  }
  pass.cache->store(layer_, k_TKE, v_TKE);
  return ops::cached_attention(q_THE, pass.cache->keys(layer_), pass.cache->values(layer_), pass.layout(), pass.cache->layout(), options_);
}

}  // namespace lora::nn
