// T tokens, D hidden size, H query heads, K key heads, E head size.
#include "models/fused_attention.h"

#include <ATen/ATen.h>

#include "lora/ops/rotary.h"
#include "models/self_attention.h"

namespace lora::models {

QueryKeyValue split_thirds(const Tensor& fused_TF, const HeadSizes& heads) {
  const Tensor parts_T3HE = fused_TF.unflatten(1, {3, heads.num_heads, heads.head_dim});
  return {parts_T3HE.select(1, 0), parts_T3HE.select(1, 1), parts_T3HE.select(1, 2)};
}

FusedAttention::FusedAttention(const std::string& name, int64_t layer, FusedAttentionOptions o, io::WeightSource& source,
                               const at::TensorOptions& options)
    : options_(std::move(o)),
      qkv_(name + "." + options_.qkv_name, options_.qkv, source, options),
      out_(name + "." + options_.out_name, options_.out, source, options),
      attention_(name, layer, options_.heads, options_.scores, options_.dropout) {}

Tensor FusedAttention::forward(const Tensor& x_TD, const RopeSet& ropes, const nn::Pass& pass) const {
  auto [q_THE, k_TKE, v_TKE] = options_.split(qkv_.forward(x_TD, pass));
  if (options_.rope) {
    const nn::RopeTables& rope = ropes[*options_.rope];
    std::tie(q_THE, k_TKE) = ops::rotary_embedding(q_THE, k_TKE, rope.cos_TE, rope.sin_TE);
  }
  return out_.forward(attention_.forward(q_THE, k_TKE, v_TKE, pass).flatten(1), pass);
}

nn::Kept FusedAttention::kept() const {
  return nn::kept_by_project({&qkv_}) + attention_.kept() + nn::kept_by_project({&out_}, /*is_kept=*/true);
}

}  // namespace lora::models
