// Nemotron-4 and Minitron (Parmar et al. 2024; Muralidharan et al. 2024): layer norms of 1 + w, rotary embeddings of a part of each head,
// and a feed-forward block without a gate, of squared ReLU.
#include <ATen/ATen.h>

#include <cmath>

#include "lora/ops/layer_norm.h"
#include "models/base_dropout.h"
#include "models/decoder.h"
#include "models/decoder_keys.h"
#include "models/families.h"
#include "models/self_attention.h"
#include "models/ungated_mlp.h"

namespace lora::models {

namespace {

/// Layer norm whose weight is 1 + w (NeMo's LayerNorm1P); the sum is rounded to the weight's dtype, as in transformers.
class OffsetLayerNorm : public nn::Norm {
 public:
  OffsetLayerNorm(const std::string& name, int64_t dim, double eps, io::WeightSource& source, const at::TensorOptions& options)
      : Norm(name),
        weight_D_(add_weight("weight", source.get(name + ".weight", {dim}, io::WeightRole::kNormOffset).to(options), false)),
        bias_D_(add_weight("bias", source.get(name + ".bias", {dim}, io::WeightRole::kBias).to(options), false)),
        eps_(eps) {}

  const char* kind() const override { return "LayerNorm1P"; }
  Tensor forward(const Tensor& x_TD) const override { return ops::layer_norm(x_TD, weight_D_.current() + 1.0, bias_D_.current(), eps_); }
  nn::Kept kept() const override { return {dim(), 2}; }

 private:
  nn::BaseWeight& weight_D_;
  nn::BaseWeight& bias_D_;
  double eps_;
};

}  // namespace

std::unique_ptr<nn::Model> make_nemotron(const JsonReader& config, io::WeightSource& source, const at::TensorOptions& options) {
  DecoderOptions decoder = read_decoder_options(config, /*tied_by_default=*/false);
  const HeadSizes heads = read_head_sizes(config, decoder.hidden_size);
  decoder.ropes = {
      nn::read_rope_options(config, heads.head_dim, config.integer("max_position_embeddings", 4096), {.partial_rotary_factor = 0.5})};
  const bool bias = config.boolean("attention_bias", false);
  const SelfAttentionOptions attention{.hidden_size = decoder.hidden_size,
                                       .heads = heads,
                                       .qkv_bias = bias,
                                       .o_bias = bias,
                                       .scores = {.scale = 1.0 / std::sqrt(static_cast<double>(heads.head_dim))},
                                       .dropout = read_dropout(config, "attention_dropout", 0.0)};
  const MlpOptions mlp = read_ungated_mlp(config, config.boolean("mlp_bias", false));
  const double eps = config.number("norm_eps", 1e-5);

  const auto norm = [&](const std::string& name) {
    return std::make_unique<OffsetLayerNorm>(name, decoder.hidden_size, eps, source, options);
  };
  const auto layer = [&](const std::string& name, int64_t index) -> LayerParts {
    return {.attention = std::make_unique<SelfAttention>(name + ".self_attn", index, attention, source, options),
            .feed_forward = std::make_unique<Mlp>(name + ".mlp", mlp, source, options),
            .norms = {.before_attention = norm(name + ".input_layernorm"),
                      .before_feed_forward = norm(name + ".post_attention_layernorm")}};
  };
  return make_decoder(decoder, norm, layer, source, options);
}

}  // namespace lora::models
