// Qwen 2 and 2.5 (Yang et al. 2024): Llama with biases of queries, keys and values, and windows in the upper layers.
#include <cmath>

#include "models/base_dropout.h"
#include "models/decoder_keys.h"
#include "models/families.h"
#include "lora/nn/rms_norm.h"
#include "models/pre_norm_layer.h"
#include "models/self_attention.h"

namespace lora::models {

std::unique_ptr<nn::Model> make_qwen2(const JsonReader& config, io::WeightSource& source, const at::TensorOptions& options) {
  DecoderOptions decoder = read_decoder_options(config, /*tied_by_default=*/false);
  const HeadSizes heads = read_head_sizes(config, decoder.hidden_size, {.num_key_value_heads = 32});
  decoder.ropes = {nn::read_rope_options(config, heads.head_dim, config.integer("max_position_embeddings", 32768))};
  decoder.target_modules = {"q_proj", "v_proj"};
  SelfAttentionOptions attention{
      decoder.hidden_size, heads, /*qkv_bias=*/true, /*o_bias=*/false, {.scale = 1.0 / std::sqrt(static_cast<double>(heads.head_dim))}};
  const GatedMlpOptions mlp = read_mlp_options(config);
  const double eps = config.number("rms_norm_eps", 1e-6);
  const std::optional<int64_t> window = read_optional_window(config, 4096);
  const int64_t first_with_window = config.integer("max_window_layers", 28);
  const std::vector<bool> slides =
      read_sliding_layers(config, decoder.num_layers, [&](int64_t layer) { return layer >= first_with_window; });
  attention.dropout = read_dropout(config, "attention_dropout", 0.0);

  const auto norm = [&](const std::string& name) { return std::make_unique<nn::RmsNorm>(name, decoder.hidden_size, eps, source, options); };
  const auto layer = [&](const std::string& name, int64_t index) {
    SelfAttentionOptions own = attention;
    own.scores.window = slides[index] ? window : std::nullopt;
    return std::make_unique<PreNormLayer>(std::make_unique<SelfAttention>(name + ".self_attn", index, own, source, options),
                                          std::make_unique<GatedMlp>(name + ".mlp", mlp, source, options), norm(name + ".input_layernorm"),
                                          norm(name + ".post_attention_layernorm"));
  };
  return std::make_unique<Decoder>(decoder, norm, layer, source, options);
}

}  // namespace lora::models
