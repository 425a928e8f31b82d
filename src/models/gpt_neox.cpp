// GPT-NeoX and Pythia (Black et al. 2022; Biderman et al. 2023): layer norm, one projection with q, k and v of each head side by side,
// rotary embeddings of a part of each head, both blocks in parallel. T tokens, H heads, E head size.
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

struct GptNeoxOptions {
  DecoderOptions decoder;
  FusedAttentionOptions attention;
  MlpOptions mlp;
  double layer_norm_eps;
  double hidden_dropout;
  bool parallel;
};

/// A row of query_key_value: for each head its query, key and value.
QueryKeyValue split_by_head(const Tensor& fused_TF, int64_t head_dim) {
  const Tensor parts_TH3E = fused_TF.unflatten(1, {-1, 3, head_dim});
  return {parts_TH3E.select(2, 0), parts_TH3E.select(2, 1), parts_TH3E.select(2, 2)};
}

GptNeoxOptions read_gpt_neox_options(const JsonReader& config) {
  GptNeoxOptions o{};
  const int64_t hidden_size = read_size(config, "hidden_size"), intermediate_size = read_size(config, "intermediate_size");
  const int64_t num_heads = read_size(config, "num_attention_heads");
  if (hidden_size % num_heads != 0) {
    config.fail("num_attention_heads", "a divisor of hidden_size (" + std::to_string(hidden_size) + ")");
  }
  const HeadSizes heads{num_heads, num_heads, hidden_size / num_heads};
  require_head_dim(config, heads.head_dim);
  o.hidden_dropout = read_dropout(config, "hidden_dropout", 0.0);
  o.decoder.vocab_size = read_size(config, "vocab_size");
  o.decoder.hidden_size = hidden_size;
  o.decoder.num_layers = read_size(config, "num_hidden_layers");
  o.decoder.tied_head = config.boolean("tie_word_embeddings", false);
  o.decoder.ropes = {nn::read_rope_options(config, heads.head_dim, config.integer("max_position_embeddings", 2048),
                                           {.partial_rotary_factor = 0.25, .theta_key = "rotary_emb_base", .partial_key = "rotary_pct"})};
  o.decoder.target_modules = {"query_key_value"};
  o.decoder.names = {"gpt_neox.embed_in", "gpt_neox.layers", "gpt_neox.final_layer_norm"};
  o.decoder.embedding_dropout = o.hidden_dropout;

  const bool bias = config.boolean("attention_bias", true);
  o.attention = {.heads = heads,
                 .qkv = {hidden_size, 3 * hidden_size, bias},
                 .out = {hidden_size, hidden_size, bias},
                 .qkv_name = "query_key_value",
                 .out_name = "dense",
                 .split = [head_dim = heads.head_dim](const Tensor& fused_TF) { return split_by_head(fused_TF, head_dim); },
                 .scores = {.scale = 1.0 / std::sqrt(static_cast<double>(heads.head_dim))},
                 .rope = 0,
                 .dropout = read_dropout(config, "attention_dropout", 0.0)};
  o.mlp = {{hidden_size, intermediate_size, true},
           {intermediate_size, hidden_size, true},
           "dense_h_to_4h",
           "dense_4h_to_h",
           nn::find_activation(config.string("hidden_act", "gelu"), config.where() + ": hidden_act")};
  o.layer_norm_eps = config.number("layer_norm_eps", 1e-5);
  o.parallel = config.boolean("use_parallel_residual", true);
  return o;
}

}  // namespace

std::string gpt_neox_model_name(const std::string& file_name) {
  // Before transformers 5 the head was in another module; files keep that name.
  return file_name.starts_with("embed_out.") ? "lm_head." + file_name.substr(10) : file_name;
}

std::unique_ptr<nn::Model> make_gpt_neox(const JsonReader& config, io::WeightSource& source, const at::TensorOptions& options) {
  const GptNeoxOptions o = read_gpt_neox_options(config);
  const auto norm = [&](const std::string& name) {
    return std::make_unique<nn::LayerNorm>(name, nn::LayerNorm::Shape{o.decoder.hidden_size, o.layer_norm_eps}, source, options);
  };
  const auto layer = [&](const std::string& name, int64_t index) -> LayerParts {
    return {.attention = std::make_unique<FusedAttention>(name + ".attention", index, o.attention, source, options),
            .feed_forward = std::make_unique<Mlp>(name + ".mlp", o.mlp, source, options),
            .norms = {.before_attention = norm(name + ".input_layernorm"), .before_feed_forward = norm(name + ".post_attention_layernorm")},
            .dropouts = {{name + ".post_attention_dropout", o.hidden_dropout}, {name + ".post_mlp_dropout", o.hidden_dropout}},
            .placement = o.parallel ? NormPlacement::kParallel : NormPlacement::kInBranch};
  };
  return make_decoder(o.decoder, norm, layer, source, options);
}

}  // namespace lora::models
