// ModernBERT (Warner et al. 2024): an encoder with norms before the blocks, rotary positions, windows in most layers and a gated MLP.
#include <ATen/ATen.h>

#include <cmath>

#include "lora/nn/activation.h"
#include "lora/nn/layer_norm.h"
#include "lora/ops/gated_activation.h"
#include "models/base_dropout.h"
#include "models/config_keys.h"
#include "models/encoder.h"
#include "models/encoder_keys.h"
#include "models/families.h"
#include "models/fused_attention.h"
#include "models/fused_mlp.h"
#include "models/layer_ropes.h"
#include "models/sequence_heads.h"

namespace lora::models {

namespace {

constexpr size_t kGlobal = 0, kLocal = 1;  // in the model's ropes

constexpr LayerRopes kModernBertRopes{"global_rope_theta", 160000.0, "local_rope_theta", 10000.0, /*scales_both=*/true};

/// The number of tokens on either side that a layer with a window sees: sliding_window, or half of local_attention.
int64_t read_side(const JsonReader& config) {
  const int64_t half = read_size(config, "local_attention", 128) / 2;
  return read_size(config, "sliding_window", half);
}

FusedAttentionOptions read_attention(const JsonReader& config, int64_t hidden_size) {
  const int64_t num_heads = read_encoder_heads(config, hidden_size), head_dim = hidden_size / num_heads;
  const HeadSizes heads{num_heads, num_heads, head_dim};
  require_head_dim(config, head_dim);
  const bool bias = config.boolean("attention_bias", false);
  return {.heads = heads,
          .qkv = {hidden_size, 3 * hidden_size, bias},
          .out = {hidden_size, hidden_size, bias},
          .qkv_name = "Wqkv",
          .out_name = "Wo",
          .split = [heads](const Tensor& fused_TF) { return split_thirds(fused_TF, heads); },
          .scores = {.scale = 1.0 / std::sqrt(static_cast<double>(head_dim)), .causal = false},
          .dropout = read_dropout(config, "attention_dropout", 0.0)};
}

FusedMlpOptions read_mlp(const JsonReader& config, int64_t hidden_size) {
  const int64_t inner = read_size(config, "intermediate_size");
  const bool bias = config.boolean("mlp_bias", false);
  return {{hidden_size, 2 * inner, bias},
          {inner, hidden_size, bias},
          "Wi",
          "Wo",
          nn::find_activation(config.string("hidden_activation", "gelu"), config.where() + ": hidden_activation"),
          read_dropout(config, "mlp_dropout", 0.0)};
}

nn::LayerNorm::Shape norm_shape(const JsonReader& config, int64_t hidden_size) {
  return {hidden_size, config.number("norm_eps", 1e-5), config.boolean("norm_bias", false)};
}

}  // namespace

std::unique_ptr<nn::Model> make_modernbert(const JsonReader& config, io::WeightSource& source, const at::TensorOptions& options) {
  TransformerOptions body = read_encoder_options(config);
  body.names = {"model.embeddings.tok_embeddings", "model.layers", "model.final_norm"};
  body.embedding_dropout = read_dropout(config, "embedding_dropout", 0.0);
  const FusedAttentionOptions attention = read_attention(config, body.hidden_size);
  body.ropes = read_layer_ropes(config, attention.heads.head_dim, config.integer("max_position_embeddings", 8192), kModernBertRopes);
  const FusedMlpOptions mlp = read_mlp(config, body.hidden_size);
  const int64_t every = read_size(config, "global_attn_every_n_layers", 3);
  const std::vector<bool> slides = read_sliding_layers(config, body.num_layers, [every](int64_t layer) { return layer % every != 0; });
  const int64_t window = read_side(config) + 1;  // including the token itself
  const nn::LayerNorm::Shape shape = norm_shape(config, body.hidden_size);
  const EncoderEmbeddings embeddings{{}, {}, read_pad_id(config, 50283), false, "model.embeddings.norm", shape.eps, shape.bias};

  const auto norm = [&](const std::string& name) { return std::make_unique<nn::LayerNorm>(name, shape, source, options); };
  const auto layer = [&](const std::string& name, int64_t index) -> LayerParts {
    FusedAttentionOptions own = attention;
    own.rope = slides[index] ? kLocal : kGlobal;
    own.scores.window = slides[index] ? std::optional(window) : std::nullopt;
    return {
        .attention = std::make_unique<FusedAttention>(name + ".attn", index, own, source, options),
        .feed_forward = std::make_unique<FusedMlp>(name + ".mlp", mlp, source, options),
        .norms = {.before_attention = index == 0 ? nullptr : norm(name + ".attn_norm"), .before_feed_forward = norm(name + ".mlp_norm")},
        .dropouts = {.attention = {name + ".attn.out_drop", attention.dropout}}};
  };
  return make_encoder(body, embeddings, norm, layer, source, options);
}

std::unique_ptr<nn::DocumentScorer> make_modernbert_head(const HeadShape& shape, const JsonReader& config, io::WeightSource& source,
                                                       const at::TensorOptions& options) {
  const std::string pooling = config.string("classifier_pooling", "cls");
  if (pooling != "cls" && pooling != "mean") {
    config.fail("classifier_pooling", "\"cls\" or \"mean\"");
  }
  const ops::Activation activation =
      nn::find_activation(config.string("classifier_activation", "gelu"), config.where() + ": classifier_activation");
  PooledHeadOptions head{shape.hidden_size, shape.num_labels, pooling == "mean"};
  head.dense = "head.dense";
  head.dense_bias = config.boolean("classifier_bias", false);
  head.activation = [activation](const Tensor& x) { return ops::activation(activation, x); };
  head.norm = std::make_unique<nn::LayerNorm>("head.norm", norm_shape(config, shape.hidden_size), source, options);
  head.dropout = read_dropout(config, "classifier_dropout", 0.0);
  return std::make_unique<PooledHead>(std::move(head), source, options);
}

}  // namespace lora::models
