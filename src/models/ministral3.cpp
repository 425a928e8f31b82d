// Ministral 3 (Mistral AI 2025): Mistral with YaRN and queries that grow with their position.
#include <ATen/ATen.h>

#include "models/decoder_keys.h"
#include "models/families.h"
#include "models/llama_like.h"

namespace lora::models {

namespace {

/// Multiplies each query by 1 + beta · ln(1 + floor(position / original length)), as Llama 4 does in layers without rotation.
struct QueryGrowth {
  double beta;
  int64_t original_length;

  void operator()(Tensor& q_THE, Tensor& k_TKE, const nn::RopeTables& rope, const nn::BatchLayout& layout) const {
    rotate_halves(q_THE, k_TKE, rope);
    const Tensor steps_T = at::floor(layout.positions_T.to(at::kFloat) / static_cast<double>(original_length));
    q_THE = q_THE * (1.0 + beta * at::log(1.0 + steps_T)).to(q_THE.scalar_type()).view({-1, 1, 1});
  }
};

/// The section of the rotary keys: that of transformers for a file without one.
JsonReader rope_section_of(const JsonReader& config) {
  static const Json published{{"rope_type", "yarn"},     {"rope_theta", 1000000.0},
                              {"factor", 16.0},          {"original_max_position_embeddings", 16384},
                              {"mscale", 1.0},           {"mscale_all_dim", 1.0},
                              {"beta_fast", 32.0},       {"beta_slow", 1.0},
                              {"llama_4_scaling_beta", 0.1}};
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    if (config.has(key) && !config.at(key).empty()) {
      return config.object(key);
    }
  }
  return {published, config.where(), ErrorKind::kModel};
}

}  // namespace

std::unique_ptr<nn::Model> make_ministral3(const JsonReader& config, io::WeightSource& source, const at::TensorOptions& options) {
  HeadDefaults heads{.num_key_value_heads = 8};
  if (!config.is_null("head_dim")) {
    heads.head_dim = 128;
  }
  LlamaLike family = read_llama_like(config, {.heads = heads, .norm_eps = 1e-5});
  const JsonReader rope = rope_section_of(config);
  rope.has("max_position_embeddings");  // saved along with the config's own, which applies
  const nn::RopeOptions read = nn::read_rope_section(rope, config, family.attention.heads.head_dim,
                                                     config.integer("max_position_embeddings", 262144));
  const char* const original = "original_max_position_embeddings";
  const int64_t length = read.kind == nn::RopeKind::kDefault ? rope.integer(original) : read.original_max_position_embeddings;
  if (length < 1) {
    rope.fail(original, "an integer above 0");
  }
  family.decoder.ropes = {read};
  family.attention.rotate = QueryGrowth{rope.number("llama_4_scaling_beta"), length};
  family.attention.scores.window = read_window(config, std::nullopt);
  family.mlp = read_mlp_options(config);
  return make_llama_like(family, source, options);
}

}  // namespace lora::models
