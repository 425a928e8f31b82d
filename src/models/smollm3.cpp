// SmolLM 3: Llama with some layers that do not rotate queries and keys (NoPE: Yang et al. 2025, "Rope to Nope and Back Again").
#include <cmath>

#include "models/base_dropout.h"
#include "models/decoder_keys.h"
#include "models/families.h"
#include "lora/nn/rms_norm.h"
#include "models/pre_norm_layer.h"
#include "models/self_attention.h"

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
  DecoderOptions decoder = read_decoder_options(config, /*tied_by_default=*/true);
  const HeadSizes heads = read_head_sizes(config, decoder.hidden_size, {.num_key_value_heads = 4});
  decoder.ropes = {nn::read_rope_options(config, heads.head_dim, config.integer("max_position_embeddings", 32768), {.theta = 2000000.0})};
  const bool bias = config.boolean("attention_bias", false);
  SelfAttentionOptions attention{decoder.hidden_size, heads, bias, bias, {.scale = 1.0 / std::sqrt(static_cast<double>(heads.head_dim))}};
  GatedMlpOptions mlp = read_mlp_options(config);
  mlp.bias = config.boolean("mlp_bias", false);
  const double eps = config.number("rms_norm_eps", 1e-6);
  const std::vector<bool> turns = read_turning_layers(config, decoder.num_layers);
  const std::optional<int64_t> window = read_optional_window(config, std::nullopt);
  const std::vector<bool> slides = read_sliding_layers(config, decoder.num_layers, [&](int64_t layer) { return !turns[layer]; });
  attention.dropout = read_dropout(config, "attention_dropout", 0.0);

  const auto norm = [&](const std::string& name) { return std::make_unique<nn::RmsNorm>(name, decoder.hidden_size, eps, source, options); };
  const auto layer = [&](const std::string& name, int64_t index) {
    SelfAttentionOptions own = attention;
    own.scores.window = slides[index] ? window : std::nullopt;
    own.rope = turns[index] ? std::optional<size_t>(0) : std::nullopt;
    return std::make_unique<PreNormLayer>(std::make_unique<SelfAttention>(name + ".self_attn", index, own, source, options),
                                          std::make_unique<GatedMlp>(name + ".mlp", mlp, source, options), norm(name + ".input_layernorm"),
                                          norm(name + ".post_attention_layernorm"));
  };
  return std::make_unique<Decoder>(decoder, norm, layer, source, options);
}

}  // namespace lora::models
