// Hunyuan, dense (Tencent 2025): Llama with norms of queries and keys after their rotation, and a theta that is stretched once and for all.
#include <cmath>

#include "lora/nn/rms_norm.h"
#include "models/decoder_keys.h"
#include "models/families.h"
#include "models/llama_like.h"

namespace lora::models {

namespace {

/// Dynamic NTK with `alpha` is the default kind with theta · alpha^(d / (d - 2)): the length of a document does not matter.
nn::RopeOptions read_hunyuan_rope(const JsonReader& config, int64_t head_dim) {
  nn::RopeOptions rope = nn::read_rope_options(config, head_dim, config.integer("max_position_embeddings", 2048));
  const bool is_scaled = config.has("rope_scaling") && !config.at("rope_scaling").empty();
  if (rope.kind != nn::RopeKind::kDynamic) {
    return rope;
  }
  const JsonReader section = config.object(is_scaled ? "rope_scaling" : "rope_parameters");
  if (!section.has("alpha")) {
    return rope;
  }
  for (const char* key : {"beta_fast", "beta_slow", "mscale", "mscale_all_dim"}) {
    section.has(key);  // in the published files, of no effect there
  }
  rope.theta *= std::pow(section.number("alpha"), static_cast<double>(head_dim) / static_cast<double>(head_dim - 2));
  rope.kind = nn::RopeKind::kDefault;
  return rope;
}

}  // namespace

std::unique_ptr<nn::Model> make_hunyuan_v1_dense(const JsonReader& config, io::WeightSource& source, const at::TensorOptions& options) {
  LlamaLike family = read_llama_like(config, {.norm_eps = 1e-5});
  const int64_t head_dim = family.attention.heads.head_dim;
  family.decoder.ropes = {read_hunyuan_rope(config, head_dim)};
  read_attention_bias(config, family.attention);
  family.mlp = read_mlp_options(config);
  family.other_attention = [&](const std::string& name, int64_t index, const SelfAttentionOptions& attention) {
    const auto norm = [&](const char* part) {
      return std::make_unique<nn::RmsNorm>(name + part, head_dim, family.norm_eps, source, options);
    };
    return std::make_unique<SelfAttention>(name, index, attention, source, options,
                                           QueryKeyNorms{norm(".query_layernorm"), norm(".key_layernorm"), /*after_rotation=*/true});
  };
  return make_llama_like(family, source, options);
}

}  // namespace lora::models
