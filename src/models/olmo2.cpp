// OLMo 2 (OLMo et al. 2024): norms after the blocks instead of before them, and norms over all queries and all keys of a token.
#include <cmath>

#include "models/base_dropout.h"
#include "models/decoder_keys.h"
#include "models/families.h"
#include "lora/nn/rms_norm.h"
#include "models/post_norm_layer.h"
#include "models/self_attention.h"

namespace lora::models {

std::unique_ptr<nn::Model> make_olmo2(const JsonReader& config, io::WeightSource& source, const at::TensorOptions& options) {
  DecoderOptions decoder = read_decoder_options(config, /*tied_by_default=*/false);
  const HeadSizes heads = read_head_sizes(config, decoder.hidden_size);
  decoder.ropes = {nn::read_rope_options(config, heads.head_dim, config.integer("max_position_embeddings", 2048))};
  decoder.wide_ropes = true;
  const bool bias = config.boolean("attention_bias", false);
  SelfAttentionOptions attention{decoder.hidden_size, heads, bias, bias, {.scale = 1.0 / std::sqrt(static_cast<double>(heads.head_dim))}};
  const GatedMlpOptions mlp = read_mlp_options(config);
  const double eps = config.number("rms_norm_eps", 1e-5);
  attention.dropout = read_dropout(config, "attention_dropout", 0.0);

  const auto norm = [&](const std::string& name, int64_t dim) {
    return std::make_unique<nn::RmsNorm>(name, dim, eps, source, options, ops::NormWeight::kWide);
  };
  const auto attend = [&](const std::string& name, int64_t index) {
    QueryKeyNorms norms{norm(name + ".q_norm", heads.num_heads * heads.head_dim),
                        norm(name + ".k_norm", heads.num_key_value_heads * heads.head_dim)};
    return std::make_unique<SelfAttention>(name, index, attention, source, options, std::move(norms));
  };
  const auto layer = [&](const std::string& name, int64_t index) {
    PostNorms norms;
    norms.after_attention = norm(name + ".post_attention_layernorm", decoder.hidden_size);
    norms.after_feed_forward = norm(name + ".post_feedforward_layernorm", decoder.hidden_size);
    return std::make_unique<PostNormLayer>(attend(name + ".self_attn", index),
                                           std::make_unique<GatedMlp>(name + ".mlp", mlp, source, options), std::move(norms));
  };
  return std::make_unique<Decoder>(
      decoder, [&](const std::string& name) { return norm(name, decoder.hidden_size); }, layer, source, options);
}

}  // namespace lora::models
