// Qwen3-MoE (Yang et al. 2025): Qwen 3's layers, some or all of which have a few experts per token instead of one MLP.
#include <algorithm>

#include "lora/nn/activation.h"
#include "models/decoder_keys.h"
#include "models/families.h"
#include "models/llama_like.h"
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
  LlamaLike family = read_llama_like(config, {.heads = {.num_key_value_heads = 4}});
  DecoderOptions& decoder = family.decoder;
  decoder.ropes = {nn::read_rope_options(config, family.attention.heads.head_dim, config.integer("max_position_embeddings", 32768))};
  read_attention_bias(config, family.attention);
  family.attention.scores.window = read_optional_window(config, 4096);
  family.mlp = read_mlp_options(config);
  family.query_key_norm = QueryKeyNorm::kEachHead;
  const SparseMoeOptions moe = read_qwen3_experts(config);
  const std::vector<bool> sparse = read_sparse_layers(config, decoder.num_layers);
  family.other_block = [&](const std::string& name, int64_t layer) {
    return sparse[layer] ? std::make_unique<SparseMoe>(name, moe, source, options) : nullptr;
  };
  return make_llama_like(family, source, options);
}

}  // namespace lora::models
