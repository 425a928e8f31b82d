// StableLM (Bellagente et al. 2024): Llama's layers with layer norms, rotary embeddings of a part of each head, and optionally
// norms per head and parallel blocks. T tokens, H heads, E head size.
#include <ATen/ATen.h>

#include <cmath>

#include "lora/nn/layer_norm.h"
#include "lora/ops/layer_norm.h"
#include "models/base_dropout.h"
#include "models/decoder.h"
#include "models/decoder_keys.h"
#include "models/families.h"
#include "models/self_attention.h"

namespace lora::models {

namespace {

struct StableLmOptions {
  DecoderOptions decoder;
  SelfAttentionOptions attention;
  GatedMlpOptions mlp;
  double layer_norm_eps;
  double hidden_dropout;
  bool parallel;
  bool head_norms;
};

/// A separate layer norm for each head.
class HeadNorms : public nn::Norm {
 public:
  /// Takes `name`.norms.0.weight … [dim] from the source.
  HeadNorms(const std::string& name, int64_t num_heads, int64_t dim, double eps, io::WeightSource& source, const at::TensorOptions& options)
      : Norm(name), eps_(eps) {
    for (int64_t head = 0; head < num_heads; ++head) {
      const std::string part = "norms." + std::to_string(head) + ".weight";
      add_weight(part, source.get(name + "." + part, {dim}, io::WeightRole::kNorm).to(options), false);
    }
  }

  const char* kind() const override { return "LayerNormPerHead"; }
  /// @param x_RE one row for each head of each token.
  Tensor forward(const Tensor& x_RE) const override {
    std::vector<Tensor> weights;
    for (const nn::BaseWeight& weight : this->weights()) {
      weights.push_back(weight.current());
    }
    const int64_t num_heads = static_cast<int64_t>(weights.size());
    const Tensor normed_THE = ops::layer_norm(x_RE, {}, {}, eps_).view({-1, num_heads, x_RE.size(1)});
    return (normed_THE * at::stack(weights)).view_as(x_RE);
  }
  nn::Kept kept() const override { return {(is_trained() ? 2 : 1) * dim(), 2}; }

 private:
  double eps_;
};

StableLmOptions read_stablelm_options(const JsonReader& config) {
  StableLmOptions o{};
  o.decoder = read_decoder_options(config, /*tied_by_default=*/false);
  const HeadSizes heads = read_head_sizes(config, o.decoder.hidden_size);
  if (heads.num_heads * heads.head_dim != o.decoder.hidden_size) {
    config.fail("num_attention_heads", "a divisor of hidden_size (" + std::to_string(o.decoder.hidden_size) + ")");
  }
  o.decoder.ropes = {
      nn::read_rope_options(config, heads.head_dim, config.integer("max_position_embeddings", 4096), {.partial_rotary_factor = 0.25})};
  o.decoder.target_modules = {"q_proj", "v_proj"};
  o.attention = {.hidden_size = o.decoder.hidden_size,
                 .heads = heads,
                 .qkv_bias = config.boolean("use_qkv_bias", false),
                 .scores = {.scale = 1.0 / std::sqrt(static_cast<double>(heads.head_dim))},
                 .dropout = read_dropout(config, "attention_dropout", 0.0)};
  o.mlp = read_mlp_options(config);
  o.layer_norm_eps = config.number("layer_norm_eps", 1e-5);
  o.hidden_dropout = read_dropout(config, "hidden_dropout", 0.0);
  o.parallel = config.boolean("use_parallel_residual", false);
  o.head_norms = config.boolean("qk_layernorm", false);
  return o;
}

}  // namespace

std::unique_ptr<nn::Model> make_stablelm(const JsonReader& config, io::WeightSource& source, const at::TensorOptions& options) {
  const StableLmOptions o = read_stablelm_options(config);
  const auto norm = [&](const std::string& name) {
    return std::make_unique<nn::LayerNorm>(name, nn::LayerNorm::Shape{o.decoder.hidden_size, o.layer_norm_eps}, source, options);
  };
  const auto head_norms = [&](const std::string& name, int64_t num_heads) {
    return std::make_unique<HeadNorms>(name, num_heads, o.attention.heads.head_dim, o.layer_norm_eps, source, options);
  };
  const auto layer = [&](const std::string& name, int64_t index) -> LayerParts {
    QueryKeyNorms norms;
    if (o.head_norms) {
      norms = {head_norms(name + ".self_attn.q_layernorm", o.attention.heads.num_heads),
               head_norms(name + ".self_attn.k_layernorm", o.attention.heads.num_key_value_heads)};
    }
    return {.attention = std::make_unique<SelfAttention>(name + ".self_attn", index, o.attention, source, options, std::move(norms)),
            .feed_forward = std::make_unique<GatedMlp>(name + ".mlp", o.mlp, source, options),
            .norms = {.before_attention = norm(name + ".input_layernorm"),
                      .before_feed_forward = o.parallel ? nullptr : norm(name + ".post_attention_layernorm")},
            .dropouts = {.feed_forward = {name + ".dropout", o.hidden_dropout}},
            .placement = o.parallel ? NormPlacement::kParallel : NormPlacement::kInBranch};
  };
  return make_decoder(o.decoder, norm, layer, source, options);
}

}  // namespace lora::models
