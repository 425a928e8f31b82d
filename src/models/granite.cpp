// Granite 3 (IBM 2024): Llama with factors of the embeddings, the scores, the blocks' outputs and the logits.
#include <ATen/ATen.h>

#include "models/decoder_keys.h"
#include "models/families.h"
#include "models/llama_like.h"

namespace lora::models {

namespace {

/// Multiplies by a number; it has no weights.
class Factor : public nn::Norm {
 public:
  Factor(const std::string& name, double factor) : Norm(name), factor_(factor) {}

  const char* kind() const override { return "Factor"; }
  Tensor forward(const Tensor& x_TD) const override { return x_TD * factor_; }
  nn::Kept kept() const override { return {}; }

 private:
  double factor_;
};

}  // namespace

std::unique_ptr<nn::Model> make_granite(const JsonReader& config, io::WeightSource& source, const at::TensorOptions& options) {
  LlamaLike family = read_llama_like(config);
  DecoderOptions& decoder = family.decoder;
  decoder.ropes = {nn::read_rope_options(config, family.attention.heads.head_dim, config.integer("max_position_embeddings", 2048))};
  decoder.embedding_scale = config.number("embedding_multiplier", 1.0);
  decoder.logit_divisor = config.number("logits_scaling", 1.0);
  if (decoder.logit_divisor == 0) {
    config.fail("logits_scaling", "a number other than 0");
  }
  read_attention_bias(config, family.attention);
  family.attention.scores.scale = config.number("attention_multiplier", 1.0);
  family.mlp = read_mlp_options(config);
  family.mlp.bias = config.boolean("mlp_bias", false);
  const double residual = config.number("residual_multiplier", 1.0);
  family.add_to_layer = [residual](const std::string& name, LayerParts& parts) {
    parts.norms.after_attention = std::make_unique<Factor>(name + ".attention_residual_multiplier", residual);
    parts.norms.after_feed_forward = std::make_unique<Factor>(name + ".mlp_residual_multiplier", residual);
  };
  return make_llama_like(family, source, options);
}

}  // namespace lora::models
