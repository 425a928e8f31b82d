// OLMo 2 (OLMo et al. 2024): norms after the blocks instead of before them, and norms over all queries and all keys of a token. OLMo 3
// (Team Olmo 2025) adds a window in three of four layers; rotary scaling applies to the others only.
#include "models/decoder_keys.h"
#include "models/families.h"
#include "models/layer_ropes.h"
#include "models/llama_like.h"

namespace lora::models {

namespace {

/// Without sections, the layers with a window have the default theta: transformers gives rope_theta to the others only.
constexpr LayerRopes kOlmo3Ropes{"rope_theta", 500000.0, "", 500000.0, /*scales_both=*/false};

/// All that both have; ropes are left to the caller.
LlamaLike read_olmo(const JsonReader& config) {
  LlamaLike family = read_llama_like(config, {.norm_eps = 1e-5});
  family.decoder.wide_ropes = true;
  read_attention_bias(config, family.attention);
  family.mlp = read_mlp_options(config);
  family.norm_weight = ops::NormWeight::kWide;
  family.norms = NormSides::kAfter;
  family.query_key_norm = QueryKeyNorm::kAllHeads;
  return family;
}

}  // namespace

std::unique_ptr<nn::Model> make_olmo2(const JsonReader& config, io::WeightSource& source, const at::TensorOptions& options) {
  LlamaLike family = read_olmo(config);
  const int64_t max_positions = config.integer("max_position_embeddings", 2048);
  family.decoder.ropes = {nn::read_rope_options(config, family.attention.heads.head_dim, max_positions)};
  return make_llama_like(family, source, options);
}

std::unique_ptr<nn::Model> make_olmo3(const JsonReader& config, io::WeightSource& source, const at::TensorOptions& options) {
  LlamaLike family = read_olmo(config);
  DecoderOptions& decoder = family.decoder;
  const int64_t max_positions = config.integer("max_position_embeddings", 2048);
  decoder.ropes = read_layer_ropes(config, family.attention.heads.head_dim, max_positions, kOlmo3Ropes);
  const std::vector<bool> slides = read_sliding_layers(config, decoder.num_layers, [](int64_t layer) { return (layer + 1) % 4 != 0; });
  family.layers = windows_in(slides, read_window(config, 4096));
  for (size_t layer = 0; layer < slides.size(); ++layer) {
    family.layers[layer].rope = slides[layer] ? 1 : 0;
  }
  return make_llama_like(family, source, options);
}

}  // namespace lora::models
