// Qwen 3 (Yang et al. 2025): Qwen 2 without biases, with a norm of each head's queries and keys before their rotation.
#include "models/decoder_keys.h"
#include "models/families.h"
#include "models/llama_like.h"

namespace lora::models {

std::unique_ptr<nn::Model> make_qwen3(const JsonReader& config, io::WeightSource& source, const at::TensorOptions& options) {
  LlamaLike family = read_llama_like(config, {.heads = {.num_key_value_heads = 32, .head_dim = 128}});
  DecoderOptions& decoder = family.decoder;
  decoder.ropes = {nn::read_rope_options(config, family.attention.heads.head_dim, config.integer("max_position_embeddings", 32768))};
  decoder.target_modules = {"q_proj", "v_proj"};
  read_attention_bias(config, family.attention);
  family.layers = read_upper_windows(config, decoder.num_layers);
  family.mlp = read_mlp_options(config);
  family.query_key_norm = QueryKeyNorm::kEachHead;
  return make_llama_like(family, source, options);
}

}  // namespace lora::models
