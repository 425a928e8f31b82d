// Gemma 2 (Riviere et al. 2024): Gemma with norms on both sides of each block, a window in every other layer, and caps on
// the scores and the logits.
#include <cmath>

#include "models/base_dropout.h"
#include "models/decoder_keys.h"
#include "models/families.h"
#include "models/gemma_keys.h"
#include "lora/nn/rms_norm.h"
#include "models/post_norm_layer.h"
#include "models/self_attention.h"

namespace lora::models {

std::unique_ptr<nn::Model> make_gemma2(const JsonReader& config, io::WeightSource& source, const at::TensorOptions& options) {
  DecoderOptions decoder = read_decoder_options(config, /*tied_by_default=*/true);
  const HeadSizes heads = read_head_sizes(config, decoder.hidden_size, {.num_key_value_heads = 4, .head_dim = 256});
  decoder.ropes = {nn::read_rope_options(config, heads.head_dim, config.integer("max_position_embeddings", 8192))};
  decoder.embedding_scale = std::sqrt(static_cast<double>(decoder.hidden_size));
  decoder.logit_soft_cap = read_soft_cap(config, "final_logit_softcapping", 30.0);
  decoder.target_modules = {"q_proj", "v_proj"};
  const bool bias = config.boolean("attention_bias", false);
  SelfAttentionOptions attention{decoder.hidden_size,
                                 heads,
                                 bias,
                                 bias,
                                 {.scale = read_query_scale(config), .soft_cap = read_soft_cap(config, "attn_logit_softcapping", 50.0)}};
  const GatedMlpOptions mlp = read_gemma_mlp(config);
  const double eps = config.number("rms_norm_eps", 1e-6);
  const std::optional<int64_t> window = read_window(config, 4096);
  const std::vector<bool> slides = read_sliding_layers(config, decoder.num_layers, [](int64_t layer) { return layer % 2 == 0; });
  require_causal(config);
  attention.dropout = read_dropout(config, "attention_dropout", 0.0);

  const auto norm = [&](const std::string& name) {
    return std::make_unique<nn::RmsNorm>(name, decoder.hidden_size, eps, source, options, ops::NormWeight::kOnePlus);
  };
  const auto layer = [&](const std::string& name, int64_t index) {
    SelfAttentionOptions own = attention;
    own.scores.window = slides[index] ? window : std::nullopt;
    PostNorms norms{norm(name + ".input_layernorm"), norm(name + ".post_attention_layernorm"), norm(name + ".pre_feedforward_layernorm"),
                    norm(name + ".post_feedforward_layernorm")};
    return std::make_unique<PostNormLayer>(std::make_unique<SelfAttention>(name + ".self_attn", index, own, source, options),
                                           std::make_unique<GatedMlp>(name + ".mlp", mlp, source, options), std::move(norms));
  };
  return std::make_unique<Decoder>(decoder, norm, layer, source, options);
}

}  // namespace lora::models
