// Qwen 3 (Yang et al. 2025): Qwen 2 without biases, with a norm of each head's queries and keys before their rotation.
#include <cmath>

#include "models/base_dropout.h"
#include "models/decoder_keys.h"
#include "models/families.h"
#include "lora/nn/rms_norm.h"
#include "models/pre_norm_layer.h"
#include "models/self_attention.h"

namespace lora::models {

std::unique_ptr<nn::Model> make_qwen3(const JsonReader& config, io::WeightSource& source, const at::TensorOptions& options) {
  DecoderOptions decoder = read_decoder_options(config, /*tied_by_default=*/false);
  const HeadSizes heads = read_head_sizes(config, decoder.hidden_size, {.num_key_value_heads = 32, .head_dim = 128});
  decoder.ropes = {nn::read_rope_options(config, heads.head_dim, config.integer("max_position_embeddings", 32768))};
  decoder.target_modules = {"q_proj", "v_proj"};
  const bool bias = config.boolean("attention_bias", false);
  SelfAttentionOptions attention{decoder.hidden_size, heads, bias, bias, {.scale = 1.0 / std::sqrt(static_cast<double>(heads.head_dim))}};
  const GatedMlpOptions mlp = read_mlp_options(config);
  const double eps = config.number("rms_norm_eps", 1e-6);
  const std::optional<int64_t> window = read_optional_window(config, 4096);
  const int64_t first_with_window = config.integer("max_window_layers", 28);
  const std::vector<bool> slides =
      read_sliding_layers(config, decoder.num_layers, [&](int64_t layer) { return layer >= first_with_window; });
  attention.dropout = read_dropout(config, "attention_dropout", 0.0);

  const auto norm = [&](const std::string& name, int64_t dim) { return std::make_unique<nn::RmsNorm>(name, dim, eps, source, options); };
  const auto attend = [&](const std::string& name, int64_t index) {
    SelfAttentionOptions own = attention;
    own.scores.window = slides[index] ? window : std::nullopt;
    QueryKeyNorms norms{norm(name + ".q_norm", heads.head_dim), norm(name + ".k_norm", heads.head_dim)};
    return std::make_unique<SelfAttention>(name, index, own, source, options, std::move(norms));
  };
  const auto layer = [&](const std::string& name, int64_t index) {
    return std::make_unique<PreNormLayer>(
        attend(name + ".self_attn", index), std::make_unique<GatedMlp>(name + ".mlp", mlp, source, options),
        norm(name + ".input_layernorm", decoder.hidden_size), norm(name + ".post_attention_layernorm", decoder.hidden_size));
  };
  return std::make_unique<Decoder>(
      decoder, [&](const std::string& name) { return norm(name, decoder.hidden_size); }, layer, source, options);
}

}  // namespace lora::models
