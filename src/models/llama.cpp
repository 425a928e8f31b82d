// Llama (Touvron et al. 2023): RMSNorm before each block, grouped-query attention with rotary embeddings, a gated MLP.
#include <cmath>

#include "models/base_dropout.h"
#include "models/decoder_keys.h"
#include "models/families.h"
#include "lora/nn/rms_norm.h"
#include "models/pre_norm_layer.h"
#include "models/self_attention.h"

namespace lora::models {

std::unique_ptr<nn::Model> make_llama(const JsonReader& config, io::WeightSource& source, const at::TensorOptions& options) {
  DecoderOptions decoder = read_decoder_options(config, /*tied_by_default=*/false);
  const HeadSizes heads = read_head_sizes(config, decoder.hidden_size);
  decoder.ropes = {nn::read_rope_options(config, heads.head_dim, config.integer("max_position_embeddings", 2048))};
  decoder.target_modules = {"q_proj", "v_proj"};
  const bool bias = config.boolean("attention_bias", false);
  SelfAttentionOptions attention{decoder.hidden_size, heads, bias, bias, {.scale = 1.0 / std::sqrt(static_cast<double>(heads.head_dim))}};
  GatedMlpOptions mlp = read_mlp_options(config);
  mlp.bias = config.boolean("mlp_bias", false);
  const double eps = config.number("rms_norm_eps", 1e-6);
  attention.dropout = read_dropout(config, "attention_dropout", 0.0);

  const auto norm = [&](const std::string& name) { return std::make_unique<nn::RmsNorm>(name, decoder.hidden_size, eps, source, options); };
  const auto layer = [&](const std::string& name, int64_t index) {
    return std::make_unique<PreNormLayer>(std::make_unique<SelfAttention>(name + ".self_attn", index, attention, source, options),
                                          std::make_unique<GatedMlp>(name + ".mlp", mlp, source, options), norm(name + ".input_layernorm"),
                                          norm(name + ".post_attention_layernorm"));
  };
  return std::make_unique<Decoder>(decoder, norm, layer, source, options);
}

}  // namespace lora::models
