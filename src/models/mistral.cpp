// Mistral (Jiang et al. 2023): Llama with a window in every layer, or in those of layer_types; later files have no window. Ministral is the
// same with layer_types in every file.
#include "models/decoder_keys.h"
#include "models/families.h"
#include "models/llama_like.h"

namespace lora::models {

namespace {

LlamaLike read_mistral(const JsonReader& config) {
  LlamaLike family = read_llama_like(config, {.heads = {.num_key_value_heads = 8}});
  DecoderOptions& decoder = family.decoder;
  decoder.ropes = {nn::read_rope_options(config, family.attention.heads.head_dim, config.integer("max_position_embeddings", 131072))};
  const std::optional<int64_t> window = read_window(config, 4096);
  family.layers = windows_in(read_sliding_layers(config, decoder.num_layers, [](int64_t) { return true; }), window);
  family.mlp = read_mlp_options(config);
  return family;
}

}  // namespace

std::unique_ptr<nn::Model> make_mistral(const JsonReader& config, io::WeightSource& source, const at::TensorOptions& options) {
  LlamaLike family = read_mistral(config);
  family.decoder.target_modules = {"q_proj", "v_proj"};
  return make_llama_like(family, source, options);
}

std::unique_ptr<nn::Model> make_ministral(const JsonReader& config, io::WeightSource& source, const at::TensorOptions& options) {
  return make_llama_like(read_mistral(config), source, options);
}

}  // namespace lora::models
