#include "models/llama_like.h"

#include <ATen/ATen.h>

#include <cmath>

#include "lora/nn/rms_norm.h"
#include "models/base_dropout.h"
#include "models/decoder_keys.h"

namespace lora::models {

namespace {

/// Makes the modules of a layer, by the names that Llama's relatives share.
class LayerMaker {
 public:
  LayerMaker(const LlamaLike& family, io::WeightSource& source, const at::TensorOptions& options)
      : family_(family), source_(source), options_(options) {}

  std::unique_ptr<nn::Norm> norm(const std::string& name) const { return norm(name, family_.decoder.hidden_size); }

  LayerParts layer(const std::string& name, int64_t index) const {
    LayerParts parts{attention(name + ".self_attn", index), feed_forward(name + ".mlp", index), norms(name)};
    if (family_.add_to_layer) {
      family_.add_to_layer(name, parts);
    }
    return parts;
  }

 private:
  std::unique_ptr<nn::Norm> norm(const std::string& name, int64_t dim) const {
    return std::make_unique<nn::RmsNorm>(name, dim, family_.norm_eps, source_, options_, family_.norm_weight);
  }

  std::unique_ptr<AttentionBlock> attention(const std::string& name, int64_t index) const {
    SelfAttentionOptions own = family_.attention;
    if (!family_.layers.empty()) {
      own.scores.window = family_.layers[index].window;
      own.rope = family_.layers[index].rope;
    }
    if (family_.other_attention) {
      return family_.other_attention(name, index, own);
    }
    QueryKeyNorms norms;
    if (family_.query_key_norm != QueryKeyNorm::kNone) {
      const bool each = family_.query_key_norm == QueryKeyNorm::kEachHead;
      norms.q = norm(name + ".q_norm", (each ? 1 : own.heads.num_heads) * own.heads.head_dim);
      norms.k = norm(name + ".k_norm", (each ? 1 : own.heads.num_key_value_heads) * own.heads.head_dim);
    }
    return std::make_unique<SelfAttention>(name, index, own, source_, options_, std::move(norms));
  }

  std::unique_ptr<FeedForward> feed_forward(const std::string& name, int64_t index) const {
    std::unique_ptr<FeedForward> other = family_.other_block ? family_.other_block(name, index) : nullptr;
    return other != nullptr ? std::move(other) : std::make_unique<GatedMlp>(name, family_.mlp, source_, options_);
  }

  LayerNorms norms(const std::string& name) const {
    LayerNorms norms;
    if (family_.norms == NormSides::kBefore) {
      norms.before_attention = norm(name + ".input_layernorm");
      norms.before_feed_forward = norm(name + ".post_attention_layernorm");
      return norms;
    }
    norms.after_attention = norm(name + ".post_attention_layernorm");
    norms.after_feed_forward = norm(name + ".post_feedforward_layernorm");
    if (family_.norms == NormSides::kBoth) {
      norms.before_attention = norm(name + ".input_layernorm");
      norms.before_feed_forward = norm(name + ".pre_feedforward_layernorm");
    }
    return norms;
  }

  const LlamaLike& family_;
  io::WeightSource& source_;
  const at::TensorOptions& options_;
};

}  // namespace

LlamaLike read_llama_like(const JsonReader& config, const LlamaDefaults& defaults) {
  LlamaLike family{};
  family.decoder = read_decoder_options(config, defaults.tied_head);
  const HeadSizes heads = read_head_sizes(config, family.decoder.hidden_size, defaults.heads);
  family.attention = {.hidden_size = family.decoder.hidden_size,
                      .heads = heads,
                      .scores = {.scale = 1.0 / std::sqrt(static_cast<double>(heads.head_dim))},
                      .dropout = read_dropout(config, "attention_dropout", 0.0)};
  family.norm_eps = config.number("rms_norm_eps", defaults.norm_eps);
  return family;
}

void read_attention_bias(const JsonReader& config, SelfAttentionOptions& attention) {
  attention.qkv_bias = attention.o_bias = config.boolean("attention_bias", false);
}

std::vector<LayerAttention> windows_in(const std::vector<bool>& slides, std::optional<int64_t> window) {
  std::vector<LayerAttention> layers;
  for (const bool slides_here : slides) {
    layers.push_back({slides_here ? window : std::nullopt});
  }
  return layers;
}

std::vector<LayerAttention> read_upper_windows(const JsonReader& config, int64_t num_layers) {
  const std::optional<int64_t> window = read_optional_window(config, 4096);
  const int64_t first_with_window = config.integer("max_window_layers", 28);
  return windows_in(read_sliding_layers(config, num_layers, [&](int64_t layer) { return layer >= first_with_window; }), window);
}

std::unique_ptr<nn::Model> make_llama_like(const LlamaLike& family, io::WeightSource& source, const at::TensorOptions& options) {
  const LayerMaker maker(family, source, options);
  return make_decoder(
      family.decoder, [&maker](const std::string& name) { return maker.norm(name); },
      [&maker](const std::string& name, int64_t index) { return maker.layer(name, index); }, source, options);
}

}  // namespace lora::models
