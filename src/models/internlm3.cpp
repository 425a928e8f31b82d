// InternLM 3 (Cai et al. 2025): Llama under other names for its biases.
#include "models/decoder_keys.h"
#include "models/families.h"
#include "models/llama_like.h"

namespace lora::models {

namespace {

/// A key of transformers 5, or its name in the published files, which takes precedence there.
bool read_bias(const JsonReader& config, const char* key, const char* published_key) {
  const bool current = config.boolean(key, false);
  return config.boolean(published_key, current);
}

}  // namespace

std::unique_ptr<nn::Model> make_internlm3(const JsonReader& config, io::WeightSource& source, const at::TensorOptions& options) {
  HeadDefaults heads{.num_key_value_heads = 2};
  if (!config.is_null("head_dim")) {
    heads.head_dim = 128;
  }
  LlamaLike family = read_llama_like(config, {.heads = heads, .norm_eps = 1e-5});
  family.decoder.ropes = {
      nn::read_rope_options(config, family.attention.heads.head_dim, config.integer("max_position_embeddings", 32768))};
  const bool bias = read_bias(config, "attention_bias", "qkv_bias");
  family.attention.qkv_bias = family.attention.o_bias = bias;
  family.mlp = read_mlp_options(config);
  family.mlp.bias = read_bias(config, "mlp_bias", "bias");
  if (family.mlp.bias != bias) {
    config.fail(config.has("qkv_bias") ? "qkv_bias" : "attention_bias", "the value of the MLP's biases, as in transformers");
  }
  return make_llama_like(family, source, options);
}

}  // namespace lora::models
