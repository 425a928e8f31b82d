// Gemma (Mesnard et al. 2024): Llama with norms that multiply by 1 + w, scaled embeddings and a tanh GELU.
#include <cmath>

#include "models/base_dropout.h"
#include "models/decoder_keys.h"
#include "models/families.h"
#include "models/gemma_keys.h"
#include "lora/nn/activation.h"
#include "lora/nn/rms_norm.h"
#include "models/pre_norm_layer.h"
#include "models/self_attention.h"

namespace lora::models {

namespace {

/// Published files state "gelu" in hidden_act but mean its tanh form (transformers' GemmaConfig).
ops::Activation read_activation(const JsonReader& config) {
  const std::string name = config.string("hidden_act", "gelu_pytorch_tanh");
  return name == "gelu" ? ops::Activation::kGeluTanh : nn::find_activation(name, config.where() + ": hidden_act");
}

}  // namespace

std::unique_ptr<nn::Model> make_gemma(const JsonReader& config, io::WeightSource& source, const at::TensorOptions& options) {
  DecoderOptions decoder = read_decoder_options(config, /*tied_by_default=*/true);
  const HeadSizes heads = read_head_sizes(config, decoder.hidden_size, {.num_key_value_heads = 16, .head_dim = 256});
  decoder.ropes = {nn::read_rope_options(config, heads.head_dim, config.integer("max_position_embeddings", 8192))};
  decoder.embedding_scale = std::sqrt(static_cast<double>(decoder.hidden_size));
  decoder.target_modules = {"q_proj", "v_proj"};
  const bool bias = config.boolean("attention_bias", false);
  SelfAttentionOptions attention{decoder.hidden_size, heads, bias, bias, {.scale = 1.0 / std::sqrt(static_cast<double>(heads.head_dim))}};
  const GatedMlpOptions mlp{decoder.hidden_size, read_size(config, "intermediate_size"), read_activation(config)};
  const double eps = config.number("rms_norm_eps", 1e-6);
  require_causal(config);
  attention.dropout = read_dropout(config, "attention_dropout", 0.0);

  const auto norm = [&](const std::string& name) {
    return std::make_unique<nn::RmsNorm>(name, decoder.hidden_size, eps, source, options, ops::NormWeight::kOnePlus);
  };
  const auto layer = [&](const std::string& name, int64_t index) {
    return std::make_unique<PreNormLayer>(std::make_unique<SelfAttention>(name + ".self_attn", index, attention, source, options),
                                          std::make_unique<GatedMlp>(name + ".mlp", mlp, source, options), norm(name + ".input_layernorm"),
                                          norm(name + ".post_attention_layernorm"));
  };
  return std::make_unique<Decoder>(decoder, norm, layer, source, options);
}

}  // namespace lora::models
