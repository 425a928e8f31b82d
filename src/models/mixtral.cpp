// Mixtral (Jiang et al. 2024): Mistral's layers with a few experts per token instead of one MLP.
#include "lora/nn/activation.h"
#include "models/families.h"
#include "models/llama_like.h"
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
  LlamaLike family = read_llama_like(config, {.heads = {.num_key_value_heads = 8}, .norm_eps = 1e-5});
  const int64_t head_dim = family.attention.heads.head_dim, max_positions = config.integer("max_position_embeddings", 131072);
  family.decoder.ropes = {nn::read_rope_options(config, head_dim, max_positions, {.theta = 1e6})};
  family.decoder.target_modules = {"q_proj", "v_proj"};
  family.attention.scores.window = read_window(config, std::nullopt);
  const SparseMoeOptions moe = read_mixtral_experts(config);
  family.other_block = [&](const std::string& name, int64_t) { return std::make_unique<SparseMoe>(name, moe, source, options); };
  return make_llama_like(family, source, options);
}

}  // namespace lora::models
