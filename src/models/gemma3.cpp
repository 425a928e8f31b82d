// Gemma 3 (Kamath et al. 2025), its text model: Gemma 2 with norms of queries and keys instead of caps, and separate rotary
// embeddings for the layers that have a window.
#include <cmath>

#include "models/families.h"
#include "models/gemma_keys.h"
#include "models/layer_ropes.h"
#include "models/llama_like.h"

namespace lora::models {

namespace {

constexpr size_t kGlobalRope = 0, kLocalRope = 1;  ///< which of the model's rotary embeddings

constexpr LayerRopes kGemma3Ropes{"rope_theta", 1000000.0, "rope_local_base_freq", 10000.0, /*scales_both=*/false};

}  // namespace

std::unique_ptr<nn::Model> make_gemma3_text(const JsonReader& config, io::WeightSource& source, const at::TensorOptions& options) {
  LlamaLike family = read_llama_like(config, {.heads = {.num_key_value_heads = 4, .head_dim = 256}, .tied_head = true});
  DecoderOptions& decoder = family.decoder;
  decoder.ropes =
      read_layer_ropes(config, family.attention.heads.head_dim, config.integer("max_position_embeddings", 131072), kGemma3Ropes);
  decoder.logit_soft_cap = read_soft_cap(config, "final_logit_softcapping", std::nullopt);
  decoder.embedding_scale = std::sqrt(static_cast<double>(decoder.hidden_size));
  decoder.target_modules = {"q_proj", "v_proj"};
  read_attention_bias(config, family.attention);
  family.attention.scores.scale = read_query_scale(config);
  const std::optional<int64_t> window = read_window(config, 4096);
  const int64_t pattern = read_size(config, "sliding_window_pattern", 6);
  const std::vector<bool> slides =
      read_sliding_layers(config, decoder.num_layers, [pattern](int64_t layer) { return (layer + 1) % pattern != 0; });
  family.layers = windows_in(slides, window);
  for (size_t layer = 0; layer < slides.size(); ++layer) {
    family.layers[layer].rope = slides[layer] ? kLocalRope : kGlobalRope;
  }
  family.mlp = read_gemma_mlp(config);
  family.norm_weight = ops::NormWeight::kOnePlus;
  family.norms = NormSides::kBoth;
  family.query_key_norm = QueryKeyNorm::kEachHead;
  require_causal(config);
  return make_llama_like(family, source, options);
}

}  // namespace lora::models
