// Read top to bottom. T tokens, D hidden size, H query heads, K key heads, E head size, F intermediate size.
#include "llama.h"

#include <ATen/ATen.h>

#include "lora/base/log.h"
#include "lora/nn/activation.h"
#include "lora/nn/attention.h"
#include "lora/nn/embedding.h"
#include "lora/nn/rms_norm.h"
#include "lora/nn/rope.h"
#include "lora/ops/gated_activation.h"
#include "lora/ops/rotary.h"

namespace lora::models {

namespace {

using nn::Linear;
using nn::Pass;
using nn::Tensor;

struct LlamaOptions {
  int64_t vocab_size;
  int64_t hidden_size;
  int64_t intermediate_size;
  int64_t num_hidden_layers;
  int64_t num_attention_heads;
  int64_t num_key_value_heads;
  int64_t head_dim;
  double rms_norm_eps;
  bool attention_bias;
  bool mlp_bias;
  bool tie_word_embeddings;
  ops::Activation activation;
  nn::RopeOptions rope;
};

/// A size that must be given and lie in 1 … 2^24 (more is a damaged file, not a model).
int64_t read_size(const JsonReader& config, const std::string& key) {
  const int64_t value = config.integer(key);
  if (value < 1 || value > (1 << 24)) {
    config.fail(key, "an integer from 1 to 16777216");
  }
  return value;
}

LlamaOptions read_options(const JsonReader& config) {
  LlamaOptions o{};
  o.vocab_size = read_size(config, "vocab_size");
  o.hidden_size = read_size(config, "hidden_size");
  o.intermediate_size = read_size(config, "intermediate_size");
  o.num_hidden_layers = read_size(config, "num_hidden_layers");
  o.num_attention_heads = read_size(config, "num_attention_heads");
  o.num_key_value_heads = config.has("num_key_value_heads") ? read_size(config, "num_key_value_heads") : o.num_attention_heads;
  o.head_dim = config.has("head_dim") ? read_size(config, "head_dim") : o.hidden_size / o.num_attention_heads;
  if (o.num_attention_heads % o.num_key_value_heads != 0) {
    config.fail("num_key_value_heads", "a divisor of num_attention_heads (" + std::to_string(o.num_attention_heads) + ")");
  }
  if (o.head_dim < 2 || o.head_dim % 2 != 0) {
    model_error(config.where(), "head_dim: found " + std::to_string(o.head_dim) + ", expected an even number (rotary embeddings)");
  }
  o.rms_norm_eps = config.number("rms_norm_eps", 1e-6);
  o.attention_bias = config.boolean("attention_bias", false);
  o.mlp_bias = config.boolean("mlp_bias", false);
  o.tie_word_embeddings = config.boolean("tie_word_embeddings", false);
  o.activation = nn::find_activation(config.string("hidden_act", "silu"), config.where() + ": hidden_act");
  o.rope = nn::read_rope_options(config, o.head_dim, config.integer("max_position_embeddings", 2048));
  if (config.number("attention_dropout", 0.0) != 0.0) {
    log::warn("[" + config.where() + "] attention_dropout is not 0 and is not applied: the base model trains without its own dropout");
  }
  return o;
}

class LlamaAttention {
 public:
  LlamaAttention(const std::string& name, int64_t layer, const LlamaOptions& o, io::WeightSource& source, const at::TensorOptions& options)
      : q_proj_(name + ".q_proj", {o.hidden_size, o.num_attention_heads * o.head_dim, o.attention_bias}, source, options),
        k_proj_(name + ".k_proj", {o.hidden_size, o.num_key_value_heads * o.head_dim, o.attention_bias}, source, options),
        v_proj_(name + ".v_proj", {o.hidden_size, o.num_key_value_heads * o.head_dim, o.attention_bias}, source, options),
        o_proj_(name + ".o_proj", {o.num_attention_heads * o.head_dim, o.hidden_size, o.attention_bias}, source, options),
        head_dim_(o.head_dim),
        layer_(layer) {}

  Tensor forward(const Tensor& x_TD, const nn::RopeTables& rope, const Pass& pass) const {
    const std::vector<Tensor> qkv = nn::project(x_TD, {&q_proj_, &k_proj_, &v_proj_}, pass);
    const auto by_head = [this](const Tensor& x) { return x.unflatten(1, {-1, head_dim_}); };
    const auto [q_THE, k_TKE] = ops::rotary_embedding(by_head(qkv[0]), by_head(qkv[1]), rope.cos_TE, rope.sin_TE);
    const Tensor v_TKE = by_head(qkv[2]);
    const double scale = 1.0 / std::sqrt(static_cast<double>(head_dim_));
    return o_proj_.forward(nn::attend(q_THE, k_TKE, v_TKE, pass, layer_, scale).flatten(1), pass);
  }

  std::vector<Linear*> linears() { return {&q_proj_, &k_proj_, &v_proj_, &o_proj_}; }

 private:
  Linear q_proj_, k_proj_, v_proj_, o_proj_;
  int64_t head_dim_;
  int64_t layer_;
};

class LlamaMlp {
 public:
  LlamaMlp(const std::string& name, const LlamaOptions& o, io::WeightSource& source, const at::TensorOptions& options)
      : gate_proj_(name + ".gate_proj", {o.hidden_size, o.intermediate_size, o.mlp_bias}, source, options),
        up_proj_(name + ".up_proj", {o.hidden_size, o.intermediate_size, o.mlp_bias}, source, options),
        down_proj_(name + ".down_proj", {o.intermediate_size, o.hidden_size, o.mlp_bias}, source, options),
        activation_(o.activation) {}

  Tensor forward(const Tensor& x_TD, const Pass& pass) const {
    const std::vector<Tensor> gate_up = nn::project(x_TD, {&gate_proj_, &up_proj_}, pass);
    return down_proj_.forward(ops::gated_activation(activation_, gate_up[0], gate_up[1]), pass);
  }

  std::vector<Linear*> linears() { return {&gate_proj_, &up_proj_, &down_proj_}; }

 private:
  Linear gate_proj_, up_proj_, down_proj_;
  ops::Activation activation_;
};

class LlamaLayer {
 public:
  LlamaLayer(const std::string& name, int64_t layer, const LlamaOptions& o, io::WeightSource& source, const at::TensorOptions& options)
      : self_attn_(name + ".self_attn", layer, o, source, options),
        mlp_(name + ".mlp", o, source, options),
        input_layernorm_(name + ".input_layernorm", o.hidden_size, o.rms_norm_eps, source, options),
        post_attention_layernorm_(name + ".post_attention_layernorm", o.hidden_size, o.rms_norm_eps, source, options) {}

  Tensor forward(const Tensor& x_TD, const nn::RopeTables& rope, const Pass& pass) const {
    const Tensor attended_TD = x_TD + self_attn_.forward(input_layernorm_.forward(x_TD), rope, pass);
    return nn::recomputed(attended_TD, pass, nn::Recompute::kFeedForward, [this](const Tensor& attended_TD, const Pass& pass) {
      return attended_TD + mlp_.forward(post_attention_layernorm_.forward(attended_TD), pass);
    });
  }

  /// Which projections have an adapter: they keep their input.
  struct Adapted {
    bool qkv, gate_up, down;
  };
  Adapted adapted() {
    const std::vector<Linear*> a = self_attn_.linears(), m = mlp_.linears();
    return {.qkv = !(a[0]->is_plain() && a[1]->is_plain() && a[2]->is_plain()),
            .gate_up = !(m[0]->is_plain() && m[1]->is_plain()),
            .down = !m[2]->is_plain()};
  }

  std::vector<nn::Host*> hosts() {
    std::vector<nn::Host*> all;
    for (Linear* linear : self_attn_.linears()) {
      all.push_back(linear);
    }
    for (Linear* linear : mlp_.linears()) {
      all.push_back(linear);
    }
    all.push_back(&input_layernorm_);
    all.push_back(&post_attention_layernorm_);
    return all;
  }

 private:
  LlamaAttention self_attn_;
  LlamaMlp mlp_;
  nn::RmsNorm input_layernorm_, post_attention_layernorm_;
};

class Llama : public nn::Model {
 public:
  Llama(LlamaOptions o, io::WeightSource& source, const at::TensorOptions& options)
      : options_(std::move(o)),
        embed_tokens_("model.embed_tokens", options_.vocab_size, options_.hidden_size, source, options),
        norm_("model.norm", options_.hidden_size, options_.rms_norm_eps, source, options),
        rope_(options_.rope) {
    for (int64_t i = 0; i < options_.num_hidden_layers; ++i) {
      layers_.push_back(std::make_unique<LlamaLayer>("model.layers." + std::to_string(i), i, options_, source, options));
    }
    lm_head_ = options_.tie_word_embeddings
                   ? std::make_unique<Linear>("lm_head", embed_tokens_.weight())
                   : std::make_unique<Linear>("lm_head", nn::LinearShape{options_.hidden_size, options_.vocab_size}, source, options);
    hosts_.push_back(&embed_tokens_);
    for (const auto& layer : layers_) {
      const std::vector<nn::Host*> hosts = layer->hosts();
      hosts_.insert(hosts_.end(), hosts.begin(), hosts.end());
    }
    hosts_.push_back(&norm_);
    hosts_.push_back(lm_head_.get());
  }

  Tensor hidden(const Pass& pass) const override {
    Tensor x_TD = embed_tokens_.forward(pass.batch.ids_T);
    const nn::RopeTables rope = rope_.tables(pass.batch, x_TD.scalar_type());
    for (const auto& layer : layers_) {
      x_TD = nn::recomputed(x_TD, pass, nn::Recompute::kLayers,
                            [&layer = *layer, rope](const Tensor& x_TD, const Pass& pass) { return layer.forward(x_TD, rope, pass); });
    }
    return norm_.forward(x_TD);
  }

  Linear& head() override { return *lm_head_; }

  std::vector<nn::Host*> hosts() override { return hosts_; }

  std::vector<nn::Parameter> base_parameters() const override {
    std::vector<nn::Parameter> all;
    for (const nn::Host* host : hosts_) {
      const std::vector<nn::Parameter> own = host->base_parameters();
      all.insert(all.end(), own.begin(), own.end());
    }
    return all;
  }

  std::vector<std::string> default_target_modules() const override { return {"q_proj", "v_proj"}; }
  int64_t vocab_size() const override { return options_.vocab_size; }
  at::ScalarType dtype() const override { return embed_tokens_.weight().scalar_type(); }
  at::Device device() const override { return embed_tokens_.weight().device(); }

  int64_t activation_bytes_per_token(nn::Recompute recompute) const override {
    const LlamaOptions& o = options_;
    int64_t attention = 0, feed_forward = 0;
    for (const auto& layer : layers_) {
      const LlamaLayer::Adapted adapted = layer->adapted();
      // The block's input, the normed one where it is projected with an adapter, q, k and v, and the heads' output.
      attention += (adapted.qkv ? 2 : 1) * o.hidden_size + 2 * (o.num_attention_heads + o.num_key_value_heads) * o.head_dim;
      // Likewise; gate and up, and their product.
      feed_forward += (adapted.gate_up ? 2 : 1) * o.hidden_size + (adapted.down ? 3 : 2) * o.intermediate_size;
    }
    // What one layer has in backward besides: gradients of its widest tensors, and the layer itself where it is computed again.
    const int64_t working = 4 * o.intermediate_size + 4 * o.hidden_size;
    const int64_t num_layers = o.num_hidden_layers, one = (attention + feed_forward) / num_layers;
    const int64_t kept = recompute == nn::Recompute::kNothing       ? attention + feed_forward
                         : recompute == nn::Recompute::kFeedForward ? attention + num_layers * o.hidden_size + feed_forward / num_layers
                                                                    : num_layers * o.hidden_size + one;
    return (kept + working + 2 * o.hidden_size) * static_cast<int64_t>(c10::elementSize(dtype()));
  }

 private:
  LlamaOptions options_;
  nn::Embedding embed_tokens_;
  std::vector<std::unique_ptr<LlamaLayer>> layers_;
  nn::RmsNorm norm_;
  std::unique_ptr<Linear> lm_head_;
  nn::Rope rope_;
  std::vector<nn::Host*> hosts_;
};

}  // namespace

std::unique_ptr<nn::Model> make_llama(const JsonReader& config, io::WeightSource& source, const at::TensorOptions& options) {
  return std::make_unique<Llama>(read_options(config), source, options);
}

}  // namespace lora::models
