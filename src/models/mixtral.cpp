// Mixtral (Jiang et al. 2024): Mistral's layers with a few experts per token instead of one MLP.
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

SparseMoeOptions read_mixtral_experts(const JsonReader& config) {
  SparseMoeOptions o{};
  o.hidden_size = read_size(config, "hidden_size");
  o.intermediate_size = read_size(config, "intermediate_size");
  o.num_experts = read_size(config, "num_local_experts", read_size(config, "num_experts", 8));
  o.num_experts_per_token = read_experts_per_token(config, 2, o.num_experts);
  o.sums_to_one = true;
  o.wide_shares = true;
  o.activation = nn::find_activation(config.string("hidden_act", "silu"), config.where() + ": hidden_act");
  o.names = {"w1", "w3", "w2"};
  if (config.number("router_jitter_noise", 0.0) != 0.0) {
    config.fail("router_jitter_noise", "0: noise in the router's input is not supported");
  }
  return o;
}

}  // namespace

std::string mixtral_model_name(const std::string& file_name) {
  // Before transformers 5 the block was another module; published files keep that name.
  static const std::string kOld = ".block_sparse_moe.", kNew = ".mlp.";
  const size_t place = file_name.find(kOld);
  return place == std::string::npos ? file_name : std::string(file_name).replace(place, kOld.size(), kNew);
}

std::unique_ptr<nn::Model> make_mixtral(const JsonReader& config, io::WeightSource& source, const at::TensorOptions& options) {
  require_no_router_loss(config);
  DecoderOptions decoder = read_decoder_options(config, /*tied_by_default=*/false);
  const HeadSizes heads = read_head_sizes(config, decoder.hidden_size, {.num_key_value_heads = 8});
  decoder.ropes = {nn::read_rope_options(config, heads.head_dim, config.integer("max_position_embeddings", 131072), {.theta = 1e6})};
  decoder.target_modules = {"q_proj", "v_proj"};
  const double scale = 1.0 / std::sqrt(static_cast<double>(heads.head_dim));
  const SelfAttentionOptions attention{.hidden_size = decoder.hidden_size,
                                       .heads = heads,
                                       .scores = {.scale = scale, .window = read_window(config, std::nullopt)},
                                       .dropout = read_dropout(config, "attention_dropout", 0.0)};
  const SparseMoeOptions moe = read_mixtral_experts(config);
  const double eps = config.number("rms_norm_eps", 1e-5);

  const auto norm = [&](const std::string& name) { return std::make_unique<nn::RmsNorm>(name, decoder.hidden_size, eps, source, options); };
  const auto layer = [&](const std::string& name, int64_t index) {
    return std::make_unique<PreNormLayer>(std::make_unique<SelfAttention>(name + ".self_attn", index, attention, source, options),
                                          std::make_unique<SparseMoe>(name + ".mlp", moe, source, options), norm(name + ".input_layernorm"),
                                          norm(name + ".post_attention_layernorm"));
  };
  return std::make_unique<Decoder>(decoder, norm, layer, source, options);
}

}  // namespace lora::models
