// AFM (Arcee AI 2025): Llama with a feed-forward block without a gate, of squared ReLU.
#include "models/families.h"
#include "models/llama_like.h"
#include "models/ungated_mlp.h"

namespace lora::models {

std::unique_ptr<nn::Model> make_arcee(const JsonReader& config, io::WeightSource& source, const at::TensorOptions& options) {
  LlamaLike family = read_llama_like(config, {.norm_eps = 1e-5});
  family.decoder.ropes = {nn::read_rope_options(config, family.attention.heads.head_dim, config.integer("max_position_embeddings", 4096))};
  read_attention_bias(config, family.attention);
  const MlpOptions mlp = read_ungated_mlp(config, config.boolean("mlp_bias", false));
  family.other_block = [&](const std::string& name, int64_t) { return std::make_unique<Mlp>(name, mlp, source, options); };
  return make_llama_like(family, source, options);
}

}  // namespace lora::models
