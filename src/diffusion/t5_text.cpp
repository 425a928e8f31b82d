// T tokens, N documents, L tokens of each, D hidden size, F intermediate size, H heads, E head size.
#include "diffusion/t5_text.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "diffusion/config_sizes.h"
#include "lora/base/error.h"
#include "lora/nn/activation.h"
#include "lora/nn/layer_memory.h"
#include "lora/ops/gated_activation.h"

namespace lora::diffusion {

namespace {

constexpr const char* kGated = "gated-";

std::string layer_name(int64_t layer) {
  return "encoder.block." + std::to_string(layer) + ".layer.";
}

/// Near distances have a bucket each, far ones share them by their logarithm; those to later keys have the second half.
int64_t bucket_of(int64_t distance, const T5TextConfig& config) {
  const int64_t half = config.num_buckets / 2, exact = half / 2;
  const int64_t later = distance > 0 ? half : 0, size = std::abs(distance);
  if (size < exact) {
    return later + size;
  }
  const float scaled = std::log(static_cast<float>(size) / static_cast<float>(exact)) /
                       static_cast<float>(std::log(static_cast<double>(config.max_distance) / static_cast<double>(exact))) *
                       static_cast<float>(half - exact);
  return later + std::min(exact + static_cast<int64_t>(scaled), half - 1);
}

}  // namespace

T5TextConfig read_t5_text_config(const JsonReader& config) {
  const std::string feed_forward = config.string("feed_forward_proj", "relu");
  if (!feed_forward.starts_with(kGated)) {
    config.fail("feed_forward_proj", "gated-gelu: only the encoders of T5 1.1 are supported");
  }
  const std::string name = feed_forward == "gated-gelu" ? "gelu_new" : feed_forward.substr(std::string_view(kGated).size());
  T5TextConfig c{.vocab_size = config_size(config, "vocab_size", 32128),
                 .hidden_size = config_size(config, "d_model", 512),
                 .head_dim = config_size(config, "d_kv", 64),
                 .num_heads = config_size(config, "num_heads", 8),
                 .intermediate_size = config_size(config, "d_ff", 2048),
                 .num_layers = config_size(config, "num_layers", 6),
                 .num_buckets = config_size(config, "relative_attention_num_buckets", 32),
                 .max_distance = config_size(config, "relative_attention_max_distance", 128),
                 .eps = config.number("layer_norm_epsilon", 1e-6),
                 .activation = nn::find_activation(name, config.where() + ": feed_forward_proj")};
  if (c.num_buckets < 4 || c.num_buckets % 4 != 0) {
    config.fail("relative_attention_num_buckets", "a multiple of 4");
  }
  if (c.max_distance <= c.num_buckets / 4) {
    config.fail("relative_attention_max_distance", "more than a quarter of the buckets (" + std::to_string(c.num_buckets / 4) + ")");
  }
  if (!(c.eps > 0)) {
    config.fail("layer_norm_epsilon", "a positive number");
  }
  return c;
}

/// x += attention(norm(x)), then x += feed_forward(norm(x)); no projection has a bias.
class T5Text::Layer {
 public:
  Layer(const std::string& name, const T5TextConfig& c, io::WeightSource& source, const at::TensorOptions& options)
      : head_dim_(c.head_dim),
        activation_(c.activation),
        q_(name + "0.SelfAttention.q", {c.hidden_size, c.num_heads * c.head_dim}, source, options),
        k_(name + "0.SelfAttention.k", {c.hidden_size, c.num_heads * c.head_dim}, source, options),
        v_(name + "0.SelfAttention.v", {c.hidden_size, c.num_heads * c.head_dim}, source, options),
        o_(name + "0.SelfAttention.o", {c.num_heads * c.head_dim, c.hidden_size}, source, options),
        norm1_(name + "0.layer_norm", c.hidden_size, c.eps, source, options),
        gate_(name + "1.DenseReluDense.wi_0", {c.hidden_size, c.intermediate_size}, source, options),
        up_(name + "1.DenseReluDense.wi_1", {c.hidden_size, c.intermediate_size}, source, options),
        down_(name + "1.DenseReluDense.wo", {c.intermediate_size, c.hidden_size}, source, options),
        norm2_(name + "1.layer_norm", c.hidden_size, c.eps, source, options) {}

  Tensor forward(const Tensor& x_TD, const Tensor& bias_HLL, const nn::Pass& pass) const {
    const std::vector<Tensor> qkv = nn::project(norm1_.forward(x_TD), {&q_, &k_, &v_}, pass);
    const auto by_head = [&](const Tensor& y) { return y.view({-1, bias_HLL.size(1), bias_HLL.size(0), head_dim_}).transpose(1, 2); };
    const Tensor heads_NHLE = at::scaled_dot_product_attention(by_head(qkv[0]), by_head(qkv[1]), by_head(qkv[2]), bias_HLL.unsqueeze(0),
                                                               /*dropout_p=*/0.0, /*is_causal=*/false, /*scale=*/1.0);
    const Tensor attended_TD = x_TD + o_.forward(heads_NHLE.transpose(1, 2).reshape({x_TD.size(0), -1}), pass);
    const std::vector<Tensor> both = nn::project(norm2_.forward(attended_TD), {&gate_, &up_}, pass);
    return attended_TD + down_.forward(ops::gated_activation(activation_, both[0], both[1]), pass);
  }

  /// In transformers' order.
  std::vector<nn::Host*> attention_hosts() { return {&q_, &k_, &v_, &o_}; }
  std::vector<nn::Host*> other_hosts() { return {&norm1_, &gate_, &up_, &down_, &norm2_}; }
  bool is_trained() const {
    return q_.is_trained() || k_.is_trained() || v_.is_trained() || o_.is_trained() || norm1_.is_trained() || gate_.is_trained() ||
           up_.is_trained() || down_.is_trained() || norm2_.is_trained();
  }
  nn::LayerMemory memory() const {
    const int64_t inner = q_.out_features();
    return {.attention = norm1_.kept() + nn::kept_by_project({&q_, &k_, &v_}) + nn::Kept{4 * inner, 0} +
                         nn::kept_by_project({&o_}, /*is_kept=*/true),
            .feed_forward = norm2_.kept() + nn::kept_by_project({&gate_, &up_}) + nn::Kept{2 * gate_.out_features(), 0} +
                            nn::kept_by_project({&down_}),
            .working = 3 * gate_.out_features()};
  }

 private:
  int64_t head_dim_;
  ops::Activation activation_;
  nn::Linear q_, k_, v_, o_;
  nn::RmsNorm norm1_;
  nn::Linear gate_, up_, down_;
  nn::RmsNorm norm2_;
};

T5Text::T5Text(const T5TextConfig& config, io::WeightSource& source, const at::TensorOptions& options)
    : config_(config),
      tokens_("shared", config.vocab_size, config.hidden_size, source, options),
      bias_(layer_name(0) + "0.SelfAttention.relative_attention_bias", config.num_buckets, config.num_heads, source, options),
      final_norm_("encoder.final_layer_norm", config.hidden_size, config.eps, source, options),
      hosts_{&tokens_} {
  for (int64_t i = 0; i < config.num_layers; ++i) {
    layers_.push_back(std::make_unique<Layer>(layer_name(i), config, source, options));
    const std::vector<nn::Host*> first = layers_.back()->attention_hosts(), rest = layers_.back()->other_hosts();
    hosts_.insert(hosts_.end(), first.begin(), first.end());
    if (i == 0) {
      hosts_.push_back(&bias_);
    }
    hosts_.insert(hosts_.end(), rest.begin(), rest.end());
  }
  hosts_.push_back(&final_norm_);
}

T5Text::~T5Text() = default;

Tensor T5Text::position_bias(int64_t length) const {
  std::vector<int64_t> buckets;
  for (int64_t query = 0; query < length; ++query) {
    for (int64_t key = 0; key < length; ++key) {
      buckets.push_back(bucket_of(key - query, config_));
    }
  }
  const Tensor ids_LL = at::tensor(buckets, at::kLong).to(device());
  return bias_.forward(ids_LL).view({length, length, -1}).permute({2, 0, 1}).contiguous();
}

Tensor T5Text::hidden(const nn::Pass& pass) const {
  const nn::BatchLayout& layout = pass.layout();
  if (layout.max_document * layout.num_documents() != layout.num_tokens()) {
    data_error("text encoder", "found texts of different lengths, expected texts of one length");
  }
  Tensor x_TD = tokens_.forward(pass.batch().tokens().ids_T);
  const Tensor bias_HLL = position_bias(layout.max_document);
  for (const auto& layer : layers_) {
    // The bias is an input too: it has a graph if its table is trained.
    const auto run = [&layer = *layer](const std::vector<Tensor>& inputs, const nn::Pass& own) {
      return layer.forward(inputs[0], inputs[1], own);
    };
    x_TD = nn::recomputed({x_TD, bias_HLL}, pass, nn::Recompute::kLayers, run);
  }
  return final_norm_.forward(x_TD);
}

std::vector<nn::Parameter> T5Text::base_parameters() const {
  return nn::base_parameters_of(hosts_);
}

nn::PassMemory T5Text::pass_memory(nn::Recompute recompute) const {
  const std::vector<nn::LayerMemory> layers = nn::layer_memories(layers_, tokens_.is_trained() || bias_.is_trained());
  return nn::pass_memory_of(layers, {config_.hidden_size, dtype(), {}, final_norm_.kept()}, recompute);
}

}  // namespace lora::diffusion
