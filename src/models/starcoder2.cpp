// StarCoder2 (Lozhkov et al. 2024): Mistral's attention with biases, layer norms, and a feed-forward block without a gate.
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

std::unique_ptr<nn::Model> make_starcoder2(const JsonReader& config, io::WeightSource& source, const at::TensorOptions& options) {
  DecoderOptions decoder = read_decoder_options(config, /*tied_by_default=*/true);
  const HeadSizes heads = read_head_sizes(config, decoder.hidden_size, {.num_key_value_heads = 2});
  decoder.ropes = {nn::read_rope_options(config, heads.head_dim, config.integer("max_position_embeddings", 4096))};
  decoder.embedding_dropout = read_dropout(config, "embedding_dropout", 0.0);
  const bool bias = config.boolean("use_bias", true);
  const SelfAttentionOptions attention{
      .hidden_size = decoder.hidden_size,
      .heads = heads,
      .qkv_bias = bias,
      .o_bias = bias,
      .scores = {.scale = 1.0 / std::sqrt(static_cast<double>(heads.head_dim)), .window = read_window(config, std::nullopt)},
      .dropout = read_dropout(config, "attention_dropout", 0.0)};
  const int64_t inner = read_size(config, "intermediate_size");
  const MlpOptions mlp{{decoder.hidden_size, inner, bias},
                       {inner, decoder.hidden_size, bias},
                       "c_fc",
                       "c_proj",
                       nn::find_activation(config.string("hidden_act", "gelu_pytorch_tanh"), config.where() + ": hidden_act")};
  const double eps = config.number("norm_epsilon", 1e-5), dropout = read_dropout(config, "residual_dropout", 0.0);

  const auto norm = [&](const std::string& name) {
    return std::make_unique<nn::LayerNorm>(name, nn::LayerNorm::Shape{decoder.hidden_size, eps}, source, options);
  };
  const auto layer = [&](const std::string& name, int64_t index) -> LayerParts {
    return {.attention = std::make_unique<SelfAttention>(name + ".self_attn", index, attention, source, options),
            .feed_forward = std::make_unique<Mlp>(name + ".mlp", mlp, source, options),
            .norms = {.before_attention = norm(name + ".input_layernorm"), .before_feed_forward = norm(name + ".post_attention_layernorm")},
            .dropouts = {{name + ".self_attn.residual_dropout", dropout}, {name + ".mlp.residual_dropout", dropout}}};
  };
  return make_decoder(decoder, norm, layer, source, options);
}

}  // namespace lora::models
