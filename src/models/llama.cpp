// Llama (Touvron et al. 2023): RMSNorm before each block, grouped-query attention with rotary embeddings, a gated MLP.
#include <cmath>

#include "families.h"
#include "gated_mlp.h"
#include "lora/nn/activation.h"
#include "lora/nn/rms_norm.h"
#include "pre_norm_layer.h"
#include "self_attention.h"

namespace lora::models {

namespace {

struct LlamaOptions {
  DecoderOptions decoder;
  SelfAttentionOptions attention;
  GatedMlpOptions mlp;
  double rms_norm_eps;
};

LlamaOptions read_options(const JsonReader& config) {
  LlamaOptions o{};
  const int64_t hidden_size = read_size(config, "hidden_size");
  const HeadSizes heads = read_head_sizes(config, hidden_size);
  o.decoder.vocab_size = read_size(config, "vocab_size");
  o.decoder.hidden_size = hidden_size;
  o.decoder.num_layers = read_size(config, "num_hidden_layers");
  o.decoder.tied_head = config.boolean("tie_word_embeddings", false);
  o.decoder.ropes = {nn::read_rope_options(config, heads.head_dim, config.integer("max_position_embeddings", 2048))};
  o.decoder.target_modules = {"q_proj", "v_proj"};
  const bool bias = config.boolean("attention_bias", false);
  o.attention = {hidden_size, heads, bias, bias, {.scale = 1.0 / std::sqrt(static_cast<double>(heads.head_dim))}};
  o.mlp = {hidden_size, read_size(config, "intermediate_size"),
           nn::find_activation(config.string("hidden_act", "silu"), config.where() + ": hidden_act"), config.boolean("mlp_bias", false)};
  o.rms_norm_eps = config.number("rms_norm_eps", 1e-6);
  warn_of_dropout(config, {"attention_dropout"});
  return o;
}

}  // namespace

std::unique_ptr<nn::Model> make_llama(const JsonReader& config, io::WeightSource& source, const at::TensorOptions& options) {
  const LlamaOptions o = read_options(config);
  const auto norm = [&](const std::string& name) {
    return std::make_unique<nn::RmsNorm>(name, o.decoder.hidden_size, o.rms_norm_eps, source, options);
  };
  const auto layer = [&](const std::string& name, int64_t index) {
    return std::make_unique<PreNormLayer>(std::make_unique<SelfAttention>(name + ".self_attn", index, o.attention, source, options),
                                          std::make_unique<GatedMlp>(name + ".mlp", o.mlp, source, options),
                                          norm(name + ".input_layernorm"), norm(name + ".post_attention_layernorm"));
  };
  return std::make_unique<Decoder>(o.decoder, norm, layer, source, options);
}

}  // namespace lora::models
