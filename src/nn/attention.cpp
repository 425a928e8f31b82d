#include "lora/nn/attention.h"

#include "lora/nn/kv_cache.h"
#include "lora/ops/attention_dropout.h"

namespace lora::nn {

Tensor attend(const Tensor& q_THE, const Tensor& k_TKE, const Tensor& v_TKE, const Pass& pass, int64_t layer,
              const ops::AttentionOptions& options, const Dropout* dropout) {
  if (dropout != nullptr && dropout->active(pass)) {
    return ops::document_attention_with_dropout(q_THE, k_TKE, v_TKE, pass.layout(), options, dropout->draw(pass));
  }
  if (pass.cache == nullptr) {
    return ops::document_attention(q_THE, k_TKE, v_TKE, pass.layout(), options);
  }
  pass.cache->store(layer, k_TKE, v_TKE);
  return ops::cached_attention(q_THE, pass.cache->keys(layer), pass.cache->values(layer), pass.layout(), pass.cache->layout(), options);
}

}  // namespace lora::nn
