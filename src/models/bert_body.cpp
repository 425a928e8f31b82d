// BERT (Devlin et al. 2019): bidirectional attention, learned positions, and a norm of the sum of each block and its input.
#include "models/bert_body.h"

#include <cmath>

#include "lora/nn/activation.h"
#include "lora/nn/layer_norm.h"
#include "models/base_dropout.h"
#include "models/config_keys.h"
#include "models/encoder.h"
#include "models/mlp.h"

namespace lora::models {

SelfAttentionOptions read_bert_attention(const JsonReader& config, int64_t hidden_size, const EncoderKeys& keys, const char* dropout_key,
                                         const SelfAttentionNames& names) {
  const int64_t num_heads = read_encoder_heads(config, hidden_size, keys), head_dim = hidden_size / num_heads;
  return {.hidden_size = hidden_size,
          .heads = {num_heads, num_heads, head_dim},
          .qkv_bias = true,
          .o_bias = true,
          .scores = {.scale = 1.0 / std::sqrt(static_cast<double>(head_dim)), .causal = false},
          .rope = std::nullopt,
          .dropout = read_dropout(config, dropout_key, 0.1),
          .names = names};
}

std::unique_ptr<nn::Model> make_bert_body(const BertBody& family, const JsonReader& config, io::WeightSource& source,
                                          const at::TensorOptions& options) {
  TransformerOptions body = read_encoder_options(config);
  const std::string embeddings = family.name + ".embeddings";
  body.names = {embeddings + ".word_embeddings", family.name + ".encoder.layer", ""};
  body.target_modules = family.target_modules;
  const double dropout = body.embedding_dropout = read_dropout(config, "hidden_dropout_prob", 0.1);
  const double eps = config.number("layer_norm_eps", 1e-12);
  const SelfAttentionOptions attention = read_bert_attention(config, body.hidden_size, {}, "attention_probs_dropout_prob",
                                                             {"self.query", "self.key", "self.value", "output.dense"});
  const int64_t inner = read_size(config, "intermediate_size");
  const MlpOptions mlp{{body.hidden_size, inner, true},
                       {inner, body.hidden_size, true},
                       "intermediate.dense",
                       "output.dense",
                       nn::find_activation(config.string("hidden_act", "gelu"), config.where() + ": hidden_act")};
  const EncoderEmbeddings first{{embeddings + ".token_type_embeddings", read_size(config, "type_vocab_size", 2)},
                                {embeddings + ".position_embeddings", read_size(config, "max_position_embeddings", 512)},
                                read_pad_id(config, family.pad_id),
                                family.positions_skip_pads,
                                embeddings + ".LayerNorm",
                                eps};

  const auto norm = [&](const std::string& name) {
    return std::make_unique<nn::LayerNorm>(name, nn::LayerNorm::Shape{body.hidden_size, eps}, source, options);
  };
  const auto layer = [&](const std::string& name, int64_t index) -> LayerParts {
    return {
        .attention = std::make_unique<SelfAttention>(name + ".attention", index, attention, source, options),
        .feed_forward = std::make_unique<Mlp>(name, mlp, source, options),
        .norms = {.after_attention = norm(name + ".attention.output.LayerNorm"), .after_feed_forward = norm(name + ".output.LayerNorm")},
        .dropouts = {{name + ".attention.output.dropout", dropout}, {name + ".output.dropout", dropout}},
        .placement = NormPlacement::kOnSum,
        .taps = {".attention.output", ".output"}};
  };
  return make_encoder(body, first, norm, layer, source, options);
}

double read_classifier_dropout(const JsonReader& config) {
  return config.has("classifier_dropout") ? read_dropout(config, "classifier_dropout", 0.0)
                                          : read_dropout(config, "hidden_dropout_prob", 0.1);
}

std::string with_modern_norms(const std::string& file_name) {
  std::string name = file_name;
  const auto renamed = [&name](const std::string& end, const std::string& other) {
    if (name.ends_with(end)) {
      name.replace(name.size() - end.size(), end.size(), other);
    }
  };
  renamed("LayerNorm.gamma", "LayerNorm.weight");
  renamed("LayerNorm.beta", "LayerNorm.bias");
  return name;
}

}  // namespace lora::models
