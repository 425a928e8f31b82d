// OLMo 2 (OLMo et al. 2024): norms after the blocks instead of before them, and norms over all queries and all keys of a token.
#include "models/decoder_keys.h"
#include "models/families.h"
#include "models/llama_like.h"

namespace lora::models {

std::unique_ptr<nn::Model> make_olmo2(const JsonReader& config, io::WeightSource& source, const at::TensorOptions& options) {
  LlamaLike family = read_llama_like(config, {.norm_eps = 1e-5});
  DecoderOptions& decoder = family.decoder;
  decoder.ropes = {nn::read_rope_options(config, family.attention.heads.head_dim, config.integer("max_position_embeddings", 2048))};
  decoder.wide_ropes = true;
  read_attention_bias(config, family.attention);
  family.mlp = read_mlp_options(config);
  family.norm_weight = ops::NormWeight::kWide;
  family.norms = NormSides::kAfter;
  family.query_key_norm = QueryKeyNorm::kAllHeads;
  return make_llama_like(family, source, options);
}

}  // namespace lora::models
