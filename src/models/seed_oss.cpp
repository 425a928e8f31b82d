// Seed-OSS (ByteDance 2025): Llama with biases of queries, keys and values, and dropout of both blocks' outputs.
#include "models/base_dropout.h"
#include "models/decoder_keys.h"
#include "models/families.h"
#include "models/llama_like.h"

namespace lora::models {

std::unique_ptr<nn::Model> make_seed_oss(const JsonReader& config, io::WeightSource& source, const at::TensorOptions& options) {
  HeadDefaults heads{.num_key_value_heads = 8};
  if (!config.is_null("head_dim")) {
    heads.head_dim = 128;
  }
  LlamaLike family = read_llama_like(config, {.heads = heads});
  family.decoder.ropes = {
      nn::read_rope_options(config, family.attention.heads.head_dim, config.integer("max_position_embeddings", 524288))};
  family.attention.qkv_bias = config.boolean("attention_bias", true);
  family.attention.o_bias = config.boolean("attention_out_bias", false);
  family.attention.dropout = read_dropout(config, "attention_dropout", 0.1);
  family.mlp = read_mlp_options(config);
  family.mlp.bias = config.boolean("mlp_bias", false);
  const double dropout = read_dropout(config, "residual_dropout", 0.1);
  family.add_to_layer = [dropout](const std::string& name, LayerParts& parts) {
    parts.dropouts = {{name + ".self_attn.residual_dropout", dropout}, {name + ".mlp.residual_dropout", dropout}};
  };
  return make_llama_like(family, source, options);
}

}  // namespace lora::models
