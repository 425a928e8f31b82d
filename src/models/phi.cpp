// Phi-1, 1.5 and 2 (Li et al. 2023): one layer norm for both blocks, which are parallel, biases everywhere, the head's included, and rotary
// embeddings of a part of each head.
#include <cmath>

#include "lora/nn/activation.h"
#include "lora/nn/layer_norm.h"
#include "models/base_dropout.h"
#include "models/decoder.h"
#include "models/decoder_keys.h"
#include "models/families.h"
#include "models/mlp.h"
#include "models/self_attention.h"

namespace lora::models {

namespace {

DecoderOptions read_phi_decoder(const JsonReader& config) {
  DecoderOptions decoder = read_decoder_options(config, /*tied_by_default=*/false);
  if (decoder.tied_head) {
    config.fail("tie_word_embeddings", "false: the head of this family has a bias");
  }
  decoder.head_bias = true;
  decoder.embedding_dropout = read_dropout(config, "embd_pdrop", 0.0);
  decoder.target_modules = {"q_proj", "v_proj", "fc1", "fc2"};
  decoder.names.norm = "model.final_layernorm";
  return decoder;
}

}  // namespace

std::unique_ptr<nn::Model> make_phi(const JsonReader& config, io::WeightSource& source, const at::TensorOptions& options) {
  DecoderOptions decoder = read_phi_decoder(config);
  const HeadSizes heads = read_head_sizes(config, decoder.hidden_size);
  decoder.ropes = {
      nn::read_rope_options(config, heads.head_dim, config.integer("max_position_embeddings", 2048), {.partial_rotary_factor = 0.5})};
  const SelfAttentionOptions attention{.hidden_size = decoder.hidden_size,
                                       .heads = heads,
                                       .qkv_bias = true,
                                       .o_bias = true,
                                       .scores = {.scale = 1.0 / std::sqrt(static_cast<double>(heads.head_dim))},
                                       .dropout = read_dropout(config, "attention_dropout", 0.0),
                                       .names = {.o = "dense"}};
  const int64_t inner = read_size(config, "intermediate_size");
  const MlpOptions mlp{{decoder.hidden_size, inner, true},
                       {inner, decoder.hidden_size, true},
                       "fc1",
                       "fc2",
                       nn::find_activation(config.string("hidden_act", "gelu_new"), config.where() + ": hidden_act")};
  const double eps = config.number("layer_norm_eps", 1e-5), dropout = read_dropout(config, "resid_pdrop", 0.0);
  const bool head_norms = config.boolean("qk_layernorm", false);

  const auto norm_of = [&](const std::string& name, int64_t dim) {
    return std::make_unique<nn::LayerNorm>(name, nn::LayerNorm::Shape{dim, eps}, source, options);
  };
  const auto norm = [&](const std::string& name) { return norm_of(name, decoder.hidden_size); };
  const auto layer = [&](const std::string& name, int64_t index) -> LayerParts {
    QueryKeyNorms norms;
    if (head_norms) {
      norms = {norm_of(name + ".self_attn.q_layernorm", heads.head_dim), norm_of(name + ".self_attn.k_layernorm", heads.head_dim)};
    }
    return {.attention = std::make_unique<SelfAttention>(name + ".self_attn", index, attention, source, options, std::move(norms)),
            .feed_forward = std::make_unique<Mlp>(name + ".mlp", mlp, source, options),
            .norms = {.before_attention = norm(name + ".input_layernorm")},
            .dropouts = {{name + ".self_attn.resid_dropout", dropout}, {name + ".mlp.resid_dropout", dropout}},
            .placement = NormPlacement::kParallel};
  };
  return make_decoder(decoder, norm, layer, source, options);
}

}  // namespace lora::models
