// Mistral (Jiang et al. 2023): Llama with a window in every layer, or in those of layer_types (transformers' Ministral); later files
// have no window.
#include <cmath>

#include "models/base_dropout.h"
#include "models/decoder_keys.h"
#include "models/families.h"
#include "lora/nn/rms_norm.h"
#include "models/pre_norm_layer.h"
#include "models/self_attention.h"

namespace lora::models {

std::unique_ptr<nn::Model> make_mistral(const JsonReader& config, io::WeightSource& source, const at::TensorOptions& options) {
  DecoderOptions decoder = read_decoder_options(config, /*tied_by_default=*/false);
  const HeadSizes heads = read_head_sizes(config, decoder.hidden_size, {.num_key_value_heads = 8});
  decoder.ropes = {nn::read_rope_options(config, heads.head_dim, config.integer("max_position_embeddings", 131072))};
  decoder.target_modules = {"q_proj", "v_proj"};
  const double scale = 1.0 / std::sqrt(static_cast<double>(heads.head_dim));
  SelfAttentionOptions attention{decoder.hidden_size, heads, /*qkv_bias=*/false, /*o_bias=*/false, {.scale = scale}};
  const std::optional<int64_t> window = read_window(config, 4096);
  const std::vector<bool> slides = read_sliding_layers(config, decoder.num_layers, [](int64_t) { return true; });
  const GatedMlpOptions mlp = read_mlp_options(config);
  const double eps = config.number("rms_norm_eps", 1e-6);
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
