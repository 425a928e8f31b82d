// Apertus (Swiss AI 2025): norms of queries and keys, and a feed-forward block without a gate, of xIELU.
#include <ATen/ATen.h>

#include <cmath>

#include "lora/nn/activation.h"
#include "lora/nn/rms_norm.h"
#include "models/base_dropout.h"
#include "models/decoder.h"
#include "models/decoder_keys.h"
#include "models/families.h"
#include "models/self_attention.h"
#include "models/ungated_mlp.h"

namespace lora::models {

namespace {

/// xIELU (Huang & Schlag 2024, "Deriving Activation Functions Using Integration"): with a = softplus(alpha_p) and
/// b = beta + softplus(alpha_n), a · x² + beta · x for x > 0, otherwise b · (exp(min(x, eps)) - 1 - x) + beta · x.
class Xielu : public nn::Host {
 public:
  /// Takes `name`.alpha_p and alpha_n [1] from the source, and beta and eps, which are constants, if it has them.
  Xielu(const std::string& name, io::WeightSource& source, const at::TensorOptions& options)
      : Host(name),
        alpha_p_(add_weight("alpha_p", source.get(name + ".alpha_p", {1}, io::WeightRole::kNorm).to(options), false)),
        alpha_n_(add_weight("alpha_n", source.get(name + ".alpha_n", {1}, io::WeightRole::kNorm).to(options), false)),
        beta_(constant("beta", 0.5, io::WeightRole::kNorm, source)),
        eps_(constant("eps", -1e-6, io::WeightRole::kBias, source)) {}

  const char* kind() const override { return "XIELU"; }
  Tensor forward(const Tensor& x) const {
    const Tensor above = at::softplus(alpha_p_.current()), below = beta_ + at::softplus(alpha_n_.current());
    return at::where(x > 0, above * x * x + beta_ * x, (at::expm1(x.clamp_max(eps_)) - x) * below + beta_ * x);
  }

 private:
  double constant(const std::string& part, double fallback, io::WeightRole role, io::WeightSource& source) const {
    const std::string full = name() + "." + part;
    return source.contains(full) ? source.get(full, {}, role).item<double>() : fallback;
  }

  nn::BaseWeight& alpha_p_;
  nn::BaseWeight& alpha_n_;
  double beta_, eps_;
};

/// down_proj(xielu(up_proj(x))).
class XieluMlp : public FeedForward {
 public:
  XieluMlp(const std::string& name, const MlpOptions& o, io::WeightSource& source, const at::TensorOptions& options)
      : up_proj_(name + "." + o.in_name, o.in, source, options),
        down_proj_(name + "." + o.out_name, o.out, source, options),
        act_fn_(name + ".act_fn", source, options) {}

  Tensor forward(const Tensor& x_TD, const nn::Pass& pass) const override {
    return down_proj_.forward(act_fn_.forward(up_proj_.forward(x_TD, pass)), pass);
  }
  std::vector<nn::Host*> hosts() override { return {&up_proj_, &down_proj_, &act_fn_}; }
  nn::Kept kept() const override {
    constexpr int64_t kOfFormula = 6;  // results that autograd keeps of the formula
    return nn::kept_by_project({&up_proj_}) + nn::Kept{kOfFormula * width(), 0} + nn::kept_by_project({&down_proj_});
  }
  int64_t width() const override { return up_proj_.out_features(); }

 private:
  nn::Linear up_proj_, down_proj_;
  Xielu act_fn_;
};

nn::RopeOptions read_apertus_rope(const JsonReader& config, int64_t head_dim) {
  const int64_t max_positions = config.integer("max_position_embeddings", 65536);
  const nn::RopeDefaults defaults{.theta = 12000000.0};
  if (config.has("rope_parameters") || config.has("rope_scaling")) {
    return nn::read_rope_options(config, head_dim, max_positions, defaults);
  }
  static const Json published{{"rope_type", "llama3"},   {"rope_theta", 12000000.0},
                              {"factor", 8.0},           {"original_max_position_embeddings", 8192},
                              {"low_freq_factor", 1.0},  {"high_freq_factor", 4.0}};
  return nn::read_rope_section({published, config.where(), ErrorKind::kModel}, config, head_dim, max_positions, defaults);
}

}  // namespace

std::unique_ptr<nn::Model> make_apertus(const JsonReader& config, io::WeightSource& source, const at::TensorOptions& options) {
  DecoderOptions decoder = read_decoder_options(config, /*tied_by_default=*/false);
  const HeadSizes heads = read_head_sizes(config, decoder.hidden_size);
  decoder.ropes = {read_apertus_rope(config, heads.head_dim)};
  const bool bias = config.boolean("attention_bias", false);
  const SelfAttentionOptions attention{.hidden_size = decoder.hidden_size,
                                       .heads = heads,
                                       .qkv_bias = bias,
                                       .o_bias = bias,
                                       .scores = {.scale = 1.0 / std::sqrt(static_cast<double>(heads.head_dim))},
                                       .dropout = read_dropout(config, "attention_dropout", 0.0)};
  if (config.string("hidden_act", "xielu") != "xielu") {
    config.fail("hidden_act", "\"xielu\"");
  }
  const int64_t inner = read_size(config, "intermediate_size");
  const MlpOptions mlp{{decoder.hidden_size, inner}, {inner, decoder.hidden_size}, "up_proj", "down_proj", {}};
  const double eps = config.number("rms_norm_eps", 1e-5);

  const auto norm_of = [&](const std::string& name, int64_t dim) {
    return std::make_unique<nn::RmsNorm>(name, dim, eps, source, options);
  };
  const auto norm = [&](const std::string& name) { return norm_of(name, decoder.hidden_size); };
  const auto layer = [&](const std::string& name, int64_t index) -> LayerParts {
    const std::string block = name + ".self_attn";
    QueryKeyNorms norms{norm_of(block + ".q_norm", heads.head_dim), norm_of(block + ".k_norm", heads.head_dim)};
    return {.attention = std::make_unique<SelfAttention>(block, index, attention, source, options, std::move(norms)),
            .feed_forward = std::make_unique<XieluMlp>(name + ".mlp", mlp, source, options),
            .norms = {.before_attention = norm(name + ".attention_layernorm"),
                      .before_feed_forward = norm(name + ".feedforward_layernorm")}};
  };
  return make_decoder(decoder, norm, layer, source, options);
}

}  // namespace lora::models
