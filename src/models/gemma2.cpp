// Gemma 2 (Riviere et al. 2024): Gemma with norms on both sides of each block, a window in every other layer, and caps on
// the scores and the logits.
#include <cmath>

#include "models/families.h"
#include "models/gemma_keys.h"
#include "models/llama_like.h"

namespace lora::models {

std::unique_ptr<nn::Model> make_gemma2(const JsonReader& config, io::WeightSource& source, const at::TensorOptions& options) {
  LlamaLike family = read_llama_like(config, {.heads = {.num_key_value_heads = 4, .head_dim = 256}, .tied_head = true});
  DecoderOptions& decoder = family.decoder;
  decoder.ropes = {nn::read_rope_options(config, family.attention.heads.head_dim, config.integer("max_position_embeddings", 8192))};
  decoder.embedding_scale = std::sqrt(static_cast<double>(decoder.hidden_size));
  decoder.logit_soft_cap = read_soft_cap(config, "final_logit_softcapping", 30.0);
  decoder.target_modules = {"q_proj", "v_proj"};
  read_attention_bias(config, family.attention);
  family.attention.scores.scale = read_query_scale(config);
  family.attention.scores.soft_cap = read_soft_cap(config, "attn_logit_softcapping", 50.0);
  const std::optional<int64_t> window = read_window(config, 4096);
  family.layers = windows_in(read_sliding_layers(config, decoder.num_layers, [](int64_t layer) { return layer % 2 == 0; }), window);
  family.mlp = read_gemma_mlp(config);
  family.norm_weight = ops::NormWeight::kOnePlus;
  family.norms = NormSides::kBoth;
  require_causal(config);
  return make_llama_like(family, source, options);
}

}  // namespace lora::models
