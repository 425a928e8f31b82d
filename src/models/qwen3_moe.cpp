// Qwen3-MoE (Yang et al. 2025): Qwen 3's layers, some or all of which have a few experts per token instead of one MLP.
#include <algorithm>
#include <cmath>

#include "models/base_dropout.h"
#include "models/decoder_keys.h"
#include "models/families.h"
#include "lora/nn/activation.h"
#include "lora/nn/rms_norm.h"
#include "models/pre_norm_layer.h"
#include "models/self_attention.h"
#include "models/sparse_moe.h"

namespace lora::models {

namespace {

SparseMoeOptions read_qwen3_experts(const JsonReader& config) {
  SparseMoeOptions o{};
  o.hidden_size = read_size(config, "hidden_size");
  o.intermediate_size = read_size(config, "moe_intermediate_size", 768);
  o.num_experts = read_size(config, "num_experts", read_size(config, "num_local_experts", 128));
  o.num_experts_per_token = read_experts_per_token(config, 8, o.num_experts);
  o.sums_to_one = config.boolean("norm_topk_prob", false);
  o.activation = nn::find_activation(config.string("hidden_act", "silu"), config.where() + ": hidden_act");
  o.names = {"gate_proj", "up_proj", "down_proj"};
  return o;
}

/// Which layers have experts.
std::vector<bool> read_sparse_layers(const JsonReader& config, int64_t num_layers) {
  const int64_t step = config.integer("decoder_sparse_step", 1);
  if (step < 1) {
    config.fail("decoder_sparse_step", "an integer from 1");
  }
  const Json none = Json::array();
  const Json& dense = config.has("mlp_only_layers") ? config.at("mlp_only_layers") : none;
  std::vector<bool> sparse;
  for (int64_t layer = 0; layer < num_layers; ++layer) {
    sparse.push_back((layer + 1) % step == 0 && std::find(dense.begin(), dense.end(), Json(layer)) == dense.end());
  }
  return sparse;
}

}  // namespace

std::unique_ptr<nn::Model> make_qwen3_moe(const JsonReader& config, io::WeightSource& source, const at::TensorOptions& options) {
  require_no_router_loss(config);
  DecoderOptions decoder = read_decoder_options(config, /*tied_by_default=*/false);
  const HeadSizes heads = read_head_sizes(config, decoder.hidden_size, {.num_key_value_heads = 4});
  decoder.ropes = {nn::read_rope_options(config, heads.head_dim, config.integer("max_position_embeddings", 32768))};
  decoder.target_modules = {};
  const bool bias = config.boolean("attention_bias", false);
  const SelfAttentionOptions attention{
      .hidden_size = decoder.hidden_size,
      .heads = heads,
      .qkv_bias = bias,
      .o_bias = bias,
      .scores = {.scale = 1.0 / std::sqrt(static_cast<double>(heads.head_dim)), .window = read_optional_window(config, 4096)},
      .dropout = read_dropout(config, "attention_dropout", 0.0)};
  const SparseMoeOptions moe = read_qwen3_experts(config);
  const GatedMlpOptions mlp = read_mlp_options(config);
  const std::vector<bool> sparse = read_sparse_layers(config, decoder.num_layers);
  const double eps = config.number("rms_norm_eps", 1e-6);

  const auto norm = [&](const std::string& name, int64_t dim) { return std::make_unique<nn::RmsNorm>(name, dim, eps, source, options); };
  const auto layer = [&](const std::string& name, int64_t index) {
    const std::string own = name + ".self_attn";
    QueryKeyNorms norms{norm(own + ".q_norm", heads.head_dim), norm(own + ".k_norm", heads.head_dim)};
    auto attend = std::make_unique<SelfAttention>(own, index, attention, source, options, std::move(norms));
    std::unique_ptr<FeedForward> feed_forward;
    if (sparse[index]) {
      feed_forward = std::make_unique<SparseMoe>(name + ".mlp", moe, source, options);
    } else {
      feed_forward = std::make_unique<GatedMlp>(name + ".mlp", mlp, source, options);
    }
    return std::make_unique<PreNormLayer>(std::move(attend), std::move(feed_forward), norm(name + ".input_layernorm", decoder.hidden_size),
                                          norm(name + ".post_attention_layernorm", decoder.hidden_size));
  };
  return std::make_unique<Decoder>(
      decoder, [&](const std::string& name) { return norm(name, decoder.hidden_size); }, layer, source, options);
}

}  // namespace lora::models
