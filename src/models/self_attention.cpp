// T tokens, D hidden size, H query heads, K key heads, E head size.
#include "self_attention.h"

#include <ATen/ATen.h>

#include "lora/nn/attention.h"
#include "lora/ops/rotary.h"

namespace lora::models {

SelfAttention::SelfAttention(const std::string& name, int64_t layer, const SelfAttentionOptions& o, io::WeightSource& source,
                             const at::TensorOptions& options)
    : options_(o),
      layer_(layer),
      q_proj_(name + ".q_proj", {o.hidden_size, o.heads.num_heads * o.heads.head_dim, o.qkv_bias}, source, options),
      k_proj_(name + ".k_proj", {o.hidden_size, o.heads.num_key_value_heads * o.heads.head_dim, o.qkv_bias}, source, options),
      v_proj_(name + ".v_proj", {o.hidden_size, o.heads.num_key_value_heads * o.heads.head_dim, o.qkv_bias}, source, options),
      o_proj_(name + ".o_proj", {o.heads.num_heads * o.heads.head_dim, o.hidden_size, o.o_bias}, source, options) {}

Tensor SelfAttention::forward(const Tensor& x_TD, const RopeSet& ropes, const nn::Pass& pass) const {
  const std::vector<Tensor> qkv = nn::project(x_TD, {&q_proj_, &k_proj_, &v_proj_}, pass);
  const auto by_head = [this](const Tensor& x) { return x.unflatten(1, {-1, options_.heads.head_dim}); };
  Tensor q_THE = by_head(qkv[0]), k_TKE = by_head(qkv[1]);
  if (options_.rope) {
    const nn::RopeTables& rope = ropes[*options_.rope];
    std::tie(q_THE, k_TKE) = ops::rotary_embedding(q_THE, k_TKE, rope.cos_TE, rope.sin_TE);
  }
  return o_proj_.forward(nn::attend(q_THE, k_TKE, by_head(qkv[2]), pass, layer_, options_.scores).flatten(1), pass);
}

std::vector<nn::Host*> SelfAttention::hosts() {
  return {&q_proj_, &k_proj_, &v_proj_, &o_proj_};
}

int64_t SelfAttention::kept_elements() const {
  // The normed input where it is projected with an adapter; q, k and v, and the heads' output.
  const bool adapted = !(q_proj_.is_plain() && k_proj_.is_plain() && v_proj_.is_plain());
  const HeadSizes& heads = options_.heads;
  return (adapted ? options_.hidden_size : 0) + 2 * (heads.num_heads + heads.num_key_value_heads) * heads.head_dim;
}

}  // namespace lora::models
