// Gemma (Mesnard et al. 2024): Llama with norms that multiply by 1 + w, scaled embeddings and a tanh GELU.
#include <cmath>

#include "lora/nn/activation.h"
#include "models/families.h"
#include "models/gemma_keys.h"
#include "models/llama_like.h"

namespace lora::models {

namespace {

/// Published files state "gelu" in hidden_act but mean its tanh form (transformers' GemmaConfig).
ops::Activation read_activation(const JsonReader& config) {
  const std::string name = config.string("hidden_act", "gelu_pytorch_tanh");
  return name == "gelu" ? ops::Activation::kGeluTanh : nn::find_activation(name, config.where() + ": hidden_act");
}

}  // namespace

std::unique_ptr<nn::Model> make_gemma(const JsonReader& config, io::WeightSource& source, const at::TensorOptions& options) {
  LlamaLike family = read_llama_like(config, {.heads = {.num_key_value_heads = 16, .head_dim = 256}, .tied_head = true});
  DecoderOptions& decoder = family.decoder;
  decoder.ropes = {nn::read_rope_options(config, family.attention.heads.head_dim, config.integer("max_position_embeddings", 8192))};
  decoder.embedding_scale = std::sqrt(static_cast<double>(decoder.hidden_size));
  decoder.target_modules = {"q_proj", "v_proj"};
  read_attention_bias(config, family.attention);
  family.mlp = {decoder.hidden_size, read_size(config, "intermediate_size"), read_activation(config)};
  family.norm_weight = ops::NormWeight::kOnePlus;
  require_causal(config);
  return make_llama_like(family, source, options);
}

}  // namespace lora::models
