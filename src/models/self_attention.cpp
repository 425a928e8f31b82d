// T tokens, D hidden size, H query heads, K key heads, E head size.
#include "models/self_attention.h"

#include <ATen/ATen.h>

#include "lora/ops/rotary.h"

namespace lora::models {

namespace {

/// x of T rows, normed_heads in parts as wide as the norm.
Tensor normed_heads(const Tensor& x, const std::unique_ptr<nn::Norm>& norm) {
  return norm == nullptr ? x : norm->forward(x.reshape({-1, norm->dim()})).view_as(x);
}

}  // namespace

void rotate_halves(Tensor& q_THE, Tensor& k_TKE, const nn::RopeTables& rope) {
  const auto dtype = q_THE.scalar_type(), wide = rope.cos_TE.scalar_type();
  std::tie(q_THE, k_TKE) = ops::rotary_embedding(q_THE.to(wide), k_TKE.to(wide), rope.cos_TE, rope.sin_TE);
  q_THE = q_THE.to(dtype);
  k_TKE = k_TKE.to(dtype);
}

SelfAttention::SelfAttention(const std::string& name, int64_t layer, const SelfAttentionOptions& o, io::WeightSource& source,
                             const at::TensorOptions& options, QueryKeyNorms norms)
    : options_(o),
      q_proj_(name + "." + o.names.q, {o.hidden_size, o.heads.num_heads * o.heads.head_dim, o.qkv_bias}, source, options),
      k_proj_(name + "." + o.names.k, {o.hidden_size, o.heads.num_key_value_heads * o.heads.head_dim, o.qkv_bias}, source, options),
      v_proj_(name + "." + o.names.v, {o.hidden_size, o.heads.num_key_value_heads * o.heads.head_dim, o.qkv_bias}, source, options),
      o_proj_(name + "." + o.names.o, {o.heads.num_heads * o.heads.head_dim, o.hidden_size, o.o_bias}, source, options),
      norms_(std::move(norms)),
      attention_(name, layer, o.heads, o.scores, o.dropout) {}

Tensor SelfAttention::forward(const Tensor& x_TD, const RopeSet& ropes, const nn::Pass& pass) const {
  const std::vector<Tensor> qkv = nn::project(x_TD, {&q_proj_, &k_proj_, &v_proj_}, pass);
  const auto by_head = [this](const Tensor& x) { return x.unflatten(1, {-1, options_.heads.head_dim}); };
  const auto norm_both = [this](Tensor& q, Tensor& k) {
    q = normed_heads(q, norms_.q);
    k = normed_heads(k, norms_.k);
  };
  Tensor q = qkv[0], k = qkv[1];
  if (!norms_.after_rotation) {
    norm_both(q, k);
  }
  Tensor q_THE = by_head(q), k_TKE = by_head(k);
  if (options_.rope) {
    const nn::RopeTables& rope = ropes[*options_.rope];
    if (options_.rotate) {
      options_.rotate(q_THE, k_TKE, rope, pass.layout());
    } else {
      rotate_halves(q_THE, k_TKE, rope);
    }
  }
  if (norms_.after_rotation) {
    norm_both(q_THE, k_TKE);
  }
  return o_proj_.forward(attention_.forward(q_THE, k_TKE, by_head(qkv[2]), pass).flatten(1), pass);
}

std::vector<nn::Host*> SelfAttention::hosts() {
  std::vector<nn::Host*> all{&q_proj_, &k_proj_, &v_proj_, &o_proj_};
  if (norms_.q != nullptr) {
    all.insert(all.end(), {norms_.q.get(), norms_.k.get()});
  }
  return all;
}

nn::Kept SelfAttention::kept() const {
  nn::Kept kept = nn::kept_by_project({&q_proj_, &k_proj_, &v_proj_}) + attention_.kept() +
                  nn::kept_by_project({&o_proj_}, /*is_kept=*/true);
  if (norms_.q != nullptr) {
    kept += q_proj_.out_features() / norms_.q->dim() * norms_.q->kept() + k_proj_.out_features() / norms_.k->dim() * norms_.k->kept();
  }
  return kept;
}

}  // namespace lora::models
