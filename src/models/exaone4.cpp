// EXAONE 4 (LG AI Research 2025): norms after the blocks as in OLMo 2, norms of queries and keys head by head, and, where there is a
// window, layers without it that do not rotate.
#include "models/decoder_keys.h"
#include "models/families.h"
#include "models/llama_like.h"

namespace lora::models {

namespace {

/// Layers with the window; without layer_types, every `sliding_window_pattern`-th has none.
std::vector<bool> read_exaone4_windows(const JsonReader& config, int64_t num_layers, bool has_window) {
  const char* const key = "sliding_window_pattern";
  const bool has_pattern = config.has(key);  // some files have a string there, along with the layer_types that follow from it
  if (!has_window || config.has("layer_types")) {
    return read_sliding_layers(config, num_layers, [](int64_t) { return false; });
  }
  const int64_t pattern = has_pattern ? read_size(config, key) : 4;
  return read_sliding_layers(config, num_layers, [pattern](int64_t layer) { return (layer + 1) % pattern != 0; });
}

}  // namespace

std::unique_ptr<nn::Model> make_exaone4(const JsonReader& config, io::WeightSource& source, const at::TensorOptions& options) {
  LlamaLike family = read_llama_like(config, {.heads = {.num_key_value_heads = 32}, .norm_eps = 1e-5});
  DecoderOptions& decoder = family.decoder;
  decoder.ropes = {nn::read_rope_options(config, family.attention.heads.head_dim, config.integer("max_position_embeddings", 2048))};
  const std::optional<int64_t> window = read_window(config, 4096);
  const std::vector<bool> slides = read_exaone4_windows(config, decoder.num_layers, window.has_value());
  family.layers = windows_in(slides, window);
  for (size_t layer = 0; layer < slides.size(); ++layer) {
    family.layers[layer].rope = slides[layer] || !window ? std::optional<size_t>(0) : std::nullopt;
  }
  family.mlp = read_mlp_options(config);
  family.norms = NormSides::kAfter;
  family.query_key_norm = QueryKeyNorm::kEachHead;
  return make_llama_like(family, source, options);
}

}  // namespace lora::models
