// Helium 1 (Kyutai 2025): Llama whose rotary embeddings turn neighbouring channels instead of those of the two halves of a head.
#include <ATen/ATen.h>

#include "models/decoder_keys.h"
#include "models/families.h"
#include "models/llama_like.h"

namespace lora::models {

namespace {

/// x_THE with the channels 0, 2, 4 … before 1, 3, 5 …: each pair is then in the two halves, as rotate_halves expects.
Tensor pairs_to_halves(const Tensor& x_THE) {
  return x_THE.unflatten(-1, {-1, 2}).transpose(-1, -2).flatten(-2);
}

Tensor halves_to_pairs(const Tensor& x_THE) {
  return x_THE.unflatten(-1, {2, -1}).transpose(-1, -2).flatten(-2);
}

/// The channels keep their order, on which the keys of prefix tuning depend.
void rotate_pairs(Tensor& q_THE, Tensor& k_TKE, const nn::RopeTables& rope, const nn::BatchLayout&) {
  q_THE = pairs_to_halves(q_THE);
  k_TKE = pairs_to_halves(k_TKE);
  rotate_halves(q_THE, k_TKE, rope);
  q_THE = halves_to_pairs(q_THE);
  k_TKE = halves_to_pairs(k_TKE);
}

}  // namespace

std::unique_ptr<nn::Model> make_helium(const JsonReader& config, io::WeightSource& source, const at::TensorOptions& options) {
  LlamaLike family = read_llama_like(config, {.heads = {.num_key_value_heads = 20, .head_dim = 128}, .norm_eps = 1e-8});
  const HeadSizes& heads = family.attention.heads;
  if (heads.num_heads * heads.head_dim != family.decoder.hidden_size) {
    config.fail("head_dim", "hidden_size divided by num_attention_heads");
  }
  family.decoder.ropes = {
      nn::read_rope_options(config, heads.head_dim, config.integer("max_position_embeddings", 4096), {.theta = 100000.0})};
  family.attention.rotate = rotate_pairs;
  family.attention.qkv_bias = config.boolean("attention_bias", false);
  family.mlp = read_mlp_options(config);
  family.mlp.bias = config.boolean("mlp_bias", false);
  family.norm_weight = ops::NormWeight::kWide;
  return make_llama_like(family, source, options);
}

}  // namespace lora::models
