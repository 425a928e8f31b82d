// SmolLM 3: Llama with some layers that do not rotate queries and keys (NoPE: Yang et al. 2025, "Rope to Nope and Back Again").
#include "models/decoder_keys.h"
#include "models/families.h"
#include "models/llama_like.h"

namespace lora::models {

namespace {

/// Which layers rotate: `no_rope_layers` has 1 for them, in spite of its name; otherwise all except every fourth.
std::vector<bool> read_turning_layers(const JsonReader& config, int64_t num_layers) {
  const int64_t interval = read_size(config, "no_rope_layer_interval", 4);
  std::vector<bool> turning;
  if (!config.has("no_rope_layers")) {
    for (int64_t layer = 0; layer < num_layers; ++layer) {
      turning.push_back((layer + 1) % interval != 0);
    }
    return turning;
  }
  const Json& layers = config.at("no_rope_layers");
  const auto fits = [](const Json& value) { return value == 0 || value == 1; };
  if (!layers.is_array() || static_cast<int64_t>(layers.size()) < num_layers || !std::all_of(layers.begin(), layers.end(), fits)) {
    config.fail("no_rope_layers", "a list of 0 and 1, one for each of num_hidden_layers (" + std::to_string(num_layers) + ")");
  }
  for (const Json& layer : layers) {
    turning.push_back(layer == 1);
  }
  return turning;
}

}  // namespace

std::unique_ptr<nn::Model> make_smollm3(const JsonReader& config, io::WeightSource& source, const at::TensorOptions& options) {
  LlamaLike family = read_llama_like(config, {.heads = {.num_key_value_heads = 4}, .tied_head = true});
  DecoderOptions& decoder = family.decoder;
  const int64_t head_dim = family.attention.heads.head_dim, max_positions = config.integer("max_position_embeddings", 32768);
  decoder.ropes = {nn::read_rope_options(config, head_dim, max_positions, {.theta = 2000000.0})};
  read_attention_bias(config, family.attention);
  family.mlp = read_mlp_options(config);
  family.mlp.bias = config.boolean("mlp_bias", false);
  const std::vector<bool> turns = read_turning_layers(config, decoder.num_layers);
  const std::optional<int64_t> window = read_optional_window(config, std::nullopt);
  family.layers = windows_in(read_sliding_layers(config, decoder.num_layers, [&](int64_t layer) { return !turns[layer]; }), window);
  for (int64_t layer = 0; layer < decoder.num_layers; ++layer) {
    family.layers[layer].rope = turns[layer] ? std::optional<size_t>(0) : std::nullopt;
  }
  return make_llama_like(family, source, options);
}

}  // namespace lora::models
