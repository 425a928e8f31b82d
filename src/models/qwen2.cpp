// Qwen 2 and 2.5 (Yang et al. 2024): Llama with biases of queries, keys and values, and windows in the upper layers.
#include "models/decoder_keys.h"
#include "models/families.h"
#include "models/llama_like.h"

namespace lora::models {

std::unique_ptr<nn::Model> make_qwen2(const JsonReader& config, io::WeightSource& source, const at::TensorOptions& options) {
  LlamaLike family = read_llama_like(config, {.heads = {.num_key_value_heads = 32}});
  DecoderOptions& decoder = family.decoder;
  decoder.ropes = {nn::read_rope_options(config, family.attention.heads.head_dim, config.integer("max_position_embeddings", 32768))};
  decoder.target_modules = {"q_proj", "v_proj"};
  family.attention.qkv_bias = true;
  family.layers = read_upper_windows(config, decoder.num_layers);
  family.mlp = read_mlp_options(config);
  return make_llama_like(family, source, options);
}

}  // namespace lora::models
