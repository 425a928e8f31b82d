// Gemma 3 (Kamath et al. 2025), its text model: Gemma 2 with norms of queries and keys instead of caps, and separate rotary
// embeddings for the layers that have a window.
#include <cmath>

#include "models/base_dropout.h"
#include "models/decoder_keys.h"
#include "models/families.h"
#include "models/gemma_keys.h"
#include "models/layer_ropes.h"
#include "lora/nn/rms_norm.h"
#include "models/post_norm_layer.h"
#include "models/self_attention.h"

namespace lora::models {

namespace {

constexpr size_t kGlobalRope = 0, kLocalRope = 1;  ///< which of the model's rotary embeddings

constexpr LayerRopes kGemma3Ropes{"rope_theta", 1000000.0, "rope_local_base_freq", 10000.0, /*scales_both=*/false};

}  // namespace

std::unique_ptr<nn::Model> make_gemma3_text(const JsonReader& config, io::WeightSource& source, const at::TensorOptions& options) {
  DecoderOptions decoder = read_decoder_options(config, /*tied_by_default=*/true);
  const HeadSizes heads = read_head_sizes(config, decoder.hidden_size, {.num_key_value_heads = 4, .head_dim = 256});
  decoder.ropes = read_layer_ropes(config, heads.head_dim, config.integer("max_position_embeddings", 131072), kGemma3Ropes);
  decoder.logit_soft_cap = read_soft_cap(config, "final_logit_softcapping", std::nullopt);
  decoder.embedding_scale = std::sqrt(static_cast<double>(decoder.hidden_size));
  decoder.target_modules = {"q_proj", "v_proj"};
  const bool bias = config.boolean("attention_bias", false);
  SelfAttentionOptions attention{decoder.hidden_size, heads, bias, bias, {.scale = read_query_scale(config)}};
  const GatedMlpOptions mlp = read_gemma_mlp(config);
  const double eps = config.number("rms_norm_eps", 1e-6);
  const std::optional<int64_t> window = read_window(config, 4096);
  const int64_t pattern = read_size(config, "sliding_window_pattern", 6);
  const std::vector<bool> slides =
      read_sliding_layers(config, decoder.num_layers, [&](int64_t layer) { return (layer + 1) % pattern != 0; });
  require_causal(config);
  attention.dropout = read_dropout(config, "attention_dropout", 0.0);

  const auto norm = [&](const std::string& name, int64_t dim) {
    return std::make_unique<nn::RmsNorm>(name, dim, eps, source, options, ops::NormWeight::kOnePlus);
  };
  const auto attend = [&](const std::string& name, int64_t index) {
    SelfAttentionOptions own = attention;
    own.scores.window = slides[index] ? window : std::nullopt;
    own.rope = slides[index] ? kLocalRope : kGlobalRope;
    QueryKeyNorms norms{norm(name + ".q_norm", heads.head_dim), norm(name + ".k_norm", heads.head_dim)};
    return std::make_unique<SelfAttention>(name, index, own, source, options, std::move(norms));
  };
  const auto layer = [&](const std::string& name, int64_t index) {
    const auto of_layer = [&](const char* part) { return norm(name + part, decoder.hidden_size); };
    PostNorms norms{of_layer(".input_layernorm"), of_layer(".post_attention_layernorm"), of_layer(".pre_feedforward_layernorm"),
                    of_layer(".post_feedforward_layernorm")};
    return std::make_unique<PostNormLayer>(attend(name + ".self_attn", index),
                                           std::make_unique<GatedMlp>(name + ".mlp", mlp, source, options), std::move(norms));
  };
  return std::make_unique<Decoder>(
      decoder, [&](const std::string& name) { return norm(name, decoder.hidden_size); }, layer, source, options);
}

}  // namespace lora::models
