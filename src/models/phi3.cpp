// Phi-3 and Phi-4 (Abdin et al. 2024): Llama with one matrix for the projections of one input, and LongRoPE on a part of each head.
// T tokens, D hidden size, H query heads, K key heads, E head size.
#include <ATen/ATen.h>

#include <cmath>

#include "lora/nn/rms_norm.h"
#include "lora/ops/rotary.h"
#include "models/base_dropout.h"
#include "models/decoder.h"
#include "models/decoder_keys.h"
#include "models/families.h"
#include "models/fused_mlp.h"
#include "models/self_attention.h"

namespace lora::models {

namespace {

class Phi3Attention : public AttentionBlock {
 public:
  Phi3Attention(const std::string& name, int64_t layer, const SelfAttentionOptions& o, io::WeightSource& source,
                const at::TensorOptions& options)
      : heads_(o.heads),
        o_proj_(name + ".o_proj", {o.heads.num_heads * o.heads.head_dim, o.hidden_size}, source, options),
        qkv_proj_(name + ".qkv_proj", {o.hidden_size, (o.heads.num_heads + 2 * o.heads.num_key_value_heads) * o.heads.head_dim}, source,
                  options),
        attention_(name, layer, o.heads, o.scores, o.dropout) {}

  Tensor forward(const Tensor& x_TD, const RopeSet& ropes, const nn::Pass& pass) const override {
    const Tensor qkv = qkv_proj_.forward(x_TD, pass).unflatten(1, {-1, heads_.head_dim});
    const std::vector<Tensor> parts = qkv.split_with_sizes({heads_.num_heads, heads_.num_key_value_heads, heads_.num_key_value_heads}, 1);
    const auto [q_THE, k_TKE] = ops::rotary_embedding(parts[0], parts[1], ropes[0].cos_TE, ropes[0].sin_TE);
    return o_proj_.forward(attention_.forward(q_THE, k_TKE, parts[2], pass).flatten(1), pass);
  }

  std::vector<nn::Host*> hosts() override { return {&o_proj_, &qkv_proj_}; }
  nn::Attention& attention() override { return attention_; }

  nn::Kept kept() const override {
    return nn::kept_by_project({&qkv_proj_}) + attention_.kept() + nn::kept_by_project({&o_proj_}, /*is_kept=*/true);
  }

 private:
  HeadSizes heads_;
  nn::Linear o_proj_, qkv_proj_;
  nn::Attention attention_;
};

}  // namespace

std::unique_ptr<nn::Model> make_phi3(const JsonReader& config, io::WeightSource& source, const at::TensorOptions& options) {
  DecoderOptions decoder = read_decoder_options(config, /*tied_by_default=*/false);
  const HeadSizes heads = read_head_sizes(config, decoder.hidden_size);
  decoder.ropes = {nn::read_rope_options(config, heads.head_dim, config.integer("max_position_embeddings", 4096),
                                         {.partial_rotary_factor = 1.0, .original_max_position_embeddings = 4096})};
  const double scale = 1.0 / std::sqrt(static_cast<double>(heads.head_dim));
  SelfAttentionOptions attention{decoder.hidden_size, heads, false, false, {.scale = scale, .window = read_window(config, std::nullopt)}};
  const GatedMlpOptions sizes = read_mlp_options(config);
  const FusedMlpOptions mlp{{decoder.hidden_size, 2 * sizes.intermediate_size},
                            {sizes.intermediate_size, decoder.hidden_size},
                            "gate_up_proj",
                            "down_proj",
                            sizes.activation};
  const double eps = config.number("rms_norm_eps", 1e-5);
  attention.dropout = read_dropout(config, "attention_dropout", 0.0);
  const double residual_dropout = read_dropout(config, "resid_pdrop", 0.0);

  const auto norm = [&](const std::string& name) { return std::make_unique<nn::RmsNorm>(name, decoder.hidden_size, eps, source, options); };
  const auto layer = [&](const std::string& name, int64_t index) -> LayerParts {
    return {.attention = std::make_unique<Phi3Attention>(name + ".self_attn", index, attention, source, options),
            .feed_forward = std::make_unique<FusedMlp>(name + ".mlp", mlp, source, options),
            .norms = {.before_attention = norm(name + ".input_layernorm"), .before_feed_forward = norm(name + ".post_attention_layernorm")},
            .dropouts = {{name + ".resid_attn_dropout", residual_dropout}, {name + ".resid_mlp_dropout", residual_dropout}}};
  };
  return make_decoder(decoder, norm, layer, source, options);
}

}  // namespace lora::models
