// Llama (Touvron et al. 2023): RMSNorm before each block, grouped-query attention with rotary embeddings, a gated MLP.
//
// Its forward pass: embedding, layers and last norm are in transformer.cpp, the order of norms, blocks and residual stream in layer.cpp,
// attention in self_attention.cpp (scores: nn/attention.cpp), the MLP in gated_mlp.cpp, and every projection in nn/linear.cpp, which adds
// what an adapter attached to it. llama_like.cpp puts these together under transformers' names; nn/head_scorer.cpp has logits and loss.
#include "models/decoder_keys.h"
#include "models/families.h"
#include "models/llama_like.h"

namespace lora::models {

std::unique_ptr<nn::Model> make_llama(const JsonReader& config, io::WeightSource& source, const at::TensorOptions& options) {
  LlamaLike family = read_llama_like(config);
  family.decoder.ropes = {nn::read_rope_options(config, family.attention.heads.head_dim, config.integer("max_position_embeddings", 2048))};
  family.decoder.target_modules = {"q_proj", "v_proj"};
  read_attention_bias(config, family.attention);
  family.mlp = read_mlp_options(config);
  family.mlp.bias = config.boolean("mlp_bias", false);
  return make_llama_like(family, source, options);
}

}  // namespace lora::models
