// Falcon (Almazrouei et al. 2023): layer norm, q, k and v in one projection in one of three orders, both blocks in parallel
// or one after the other. T tokens, H query heads, K key heads, E head size.
#include <ATen/ATen.h>

#include <cmath>

#include "lora/nn/activation.h"
#include "lora/nn/layer_norm.h"
#include "models/base_dropout.h"
#include "models/decoder.h"
#include "models/families.h"
#include "models/fused_attention.h"
#include "models/mlp.h"

namespace lora::models {

namespace {

struct FalconOptions {
  DecoderOptions decoder;
  FusedAttentionOptions attention;
  MlpOptions mlp;
  double layer_norm_eps;
  double hidden_dropout, attention_dropout;
  bool parallel;
  bool two_norms;  ///< of a parallel layer: one norm per block
};

/// A row of query_key_value: for each key head, the queries that read it, the key and the value. This general order also covers
/// multi-query models (one key head) and models with one key head per query head.
QueryKeyValue split_by_group(const Tensor& fused_TF, const HeadSizes& heads) {
  const int64_t group = heads.num_heads / heads.num_key_value_heads;
  const Tensor parts_TKGE = fused_TF.unflatten(1, {heads.num_key_value_heads, group + 2, heads.head_dim});
  return {parts_TKGE.slice(2, 0, group).flatten(1, 2), parts_TKGE.select(2, group), parts_TKGE.select(2, group + 1)};
}

HeadSizes read_heads(const JsonReader& config, int64_t hidden_size, bool new_architecture) {
  HeadSizes heads{read_size(config, "num_attention_heads"), 1, 0};
  if (hidden_size % heads.num_heads != 0) {
    config.fail("num_attention_heads", "a divisor of hidden_size (" + std::to_string(hidden_size) + ")");
  }
  heads.head_dim = hidden_size / heads.num_heads;
  require_head_dim(config, heads.head_dim);
  const int64_t num_kv_heads = read_size(config, "num_kv_heads", heads.num_heads);
  const bool multi_query = config.boolean("multi_query", true);
  if (new_architecture) {
    heads.num_key_value_heads = num_kv_heads;
    if (heads.num_heads % heads.num_key_value_heads != 0) {
      config.fail("num_kv_heads", "a divisor of num_attention_heads (" + std::to_string(heads.num_heads) + ")");
    }
  } else if (!multi_query) {
    heads.num_key_value_heads = heads.num_heads;
  }
  return heads;
}

FalconOptions read_falcon_options(const JsonReader& config) {
  if (config.boolean("alibi", false)) {
    config.fail("alibi", "false: only rotary positions are supported");
  }
  FalconOptions o{};
  const bool new_architecture = config.boolean("new_decoder_architecture", false);
  const int64_t hidden_size = read_size(config, config.has("n_embed") ? "n_embed" : "hidden_size");
  const int64_t inner = read_size(config, "ffn_hidden_size", 4 * hidden_size);
  const HeadSizes heads = read_heads(config, hidden_size, new_architecture);
  o.decoder.vocab_size = read_size(config, "vocab_size");
  o.decoder.hidden_size = hidden_size;
  o.decoder.num_layers = read_size(config, "num_hidden_layers");
  o.decoder.tied_head = config.boolean("tie_word_embeddings", true);
  o.decoder.ropes = {nn::read_rope_options(config, heads.head_dim, config.integer("max_position_embeddings", 2048))};
  o.decoder.target_modules = {"query_key_value"};
  o.decoder.names = {"transformer.word_embeddings", "transformer.h", "transformer.ln_f"};

  const bool bias = config.boolean("bias", false);
  o.attention = {.heads = heads,
                 .qkv = {hidden_size, (heads.num_heads + 2 * heads.num_key_value_heads) * heads.head_dim, bias},
                 .out = {hidden_size, hidden_size, bias},
                 .qkv_name = "query_key_value",
                 .out_name = "dense",
                 .split = [heads](const Tensor& fused_TF) { return split_by_group(fused_TF, heads); },
                 .scores = {.scale = 1.0 / std::sqrt(static_cast<double>(heads.head_dim))},
                 .rope = 0};
  o.mlp = {{hidden_size, inner, bias},
           {inner, hidden_size, bias},
           "dense_h_to_4h",
           "dense_4h_to_h",
           nn::find_activation(config.string("activation", "gelu"), config.where() + ": activation")};
  o.layer_norm_eps = config.number("layer_norm_epsilon", 1e-5);
  o.hidden_dropout = read_dropout(config, "hidden_dropout", 0.0);
  o.attention_dropout = read_dropout(config, "attention_dropout", 0.0);
  o.parallel = config.boolean("parallel_attn", true) || new_architecture;
  o.two_norms = config.integer("num_ln_in_parallel_attn", 2) == 2 && new_architecture;
  return o;
}

}  // namespace

std::unique_ptr<nn::Model> make_falcon(const JsonReader& config, io::WeightSource& source, const at::TensorOptions& options) {
  const FalconOptions o = read_falcon_options(config);
  const auto norm = [&](const std::string& name) {
    return std::make_unique<nn::LayerNorm>(name, nn::LayerNorm::Shape{o.decoder.hidden_size, o.layer_norm_eps}, source, options);
  };
  const auto layer = [&](const std::string& name, int64_t index) -> LayerParts {
    LayerParts parts{.attention = std::make_unique<FusedAttention>(name + ".self_attention", index, o.attention, source, options),
                     .feed_forward = std::make_unique<Mlp>(name + ".mlp", o.mlp, source, options),
                     .norms = {}};
    if (!o.parallel) {
      parts.norms.before_attention = norm(name + ".input_layernorm");
      parts.norms.before_feed_forward = norm(name + ".post_attention_layernorm");
      // transformers applies dropout to the block's output at the rate attention_dropout, and none to the probabilities.
      parts.dropouts.attention = {name + ".attention_dropout", o.attention_dropout};
      parts.dropouts.feed_forward = {name + ".hidden_dropout", o.hidden_dropout};
      return parts;
    }
    parts.norms.before_attention = norm(name + (o.two_norms ? ".ln_attn" : ".input_layernorm"));
    parts.norms.before_feed_forward = o.two_norms ? norm(name + ".ln_mlp") : nullptr;
    parts.dropouts.sum = {name + ".hidden_dropout", o.hidden_dropout};
    parts.placement = NormPlacement::kParallel;
    return parts;
  };
  return make_decoder(o.decoder, norm, layer, source, options);
}

}  // namespace lora::models
