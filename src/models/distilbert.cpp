// DistilBERT (Sanh et al. 2019): BERT without token types and pooler, with its own names.
#include <ATen/ATen.h>

#include "lora/nn/activation.h"
#include "lora/nn/layer_norm.h"
#include "models/base_dropout.h"
#include "models/bert_body.h"
#include "models/config_keys.h"
#include "models/encoder.h"
#include "models/mlp.h"
#include "models/sequence_heads.h"

namespace lora::models {

namespace {

constexpr double kEps = 1e-12;

/// Its own names, or those of other families, which take precedence, as in transformers.
EncoderKeys keys_of(const JsonReader& config) {
  const auto either = [&config](const char* general, const char* own) { return config.has(general) ? general : own; };
  return {either("hidden_size", "dim"), either("num_hidden_layers", "n_layers"), either("num_attention_heads", "n_heads")};
}

}  // namespace

std::unique_ptr<nn::Model> make_distilbert(const JsonReader& config, io::WeightSource& source, const at::TensorOptions& options) {
  const EncoderKeys keys = keys_of(config);
  TransformerOptions body = read_encoder_options(config, keys);
  body.names = {"distilbert.embeddings.word_embeddings", "distilbert.transformer.layer", ""};
  const double dropout = body.embedding_dropout = read_dropout(config, "dropout", 0.1);
  const SelfAttentionOptions attention =
      read_bert_attention(config, body.hidden_size, keys, "attention_dropout", {"q_lin", "k_lin", "v_lin", "out_lin"});
  const int64_t inner = read_size(config, "hidden_dim");
  const MlpOptions mlp{{body.hidden_size, inner, true},
                       {inner, body.hidden_size, true},
                       "lin1",
                       "lin2",
                       nn::find_activation(config.string("activation", "gelu"), config.where() + ": activation")};
  const EncoderEmbeddings embeddings{{},
                                     {"distilbert.embeddings.position_embeddings", read_size(config, "max_position_embeddings", 512)},
                                     read_pad_id(config, 0),
                                     false,
                                     "distilbert.embeddings.LayerNorm",
                                     kEps};
  const auto norm = [&](const std::string& name) {
    return std::make_unique<nn::LayerNorm>(name, nn::LayerNorm::Shape{body.hidden_size, kEps}, source, options);
  };
  const auto layer = [&](const std::string& name, int64_t index) -> LayerParts {
    return {.attention = std::make_unique<SelfAttention>(name + ".attention", index, attention, source, options),
            .feed_forward = std::make_unique<Mlp>(name + ".ffn", mlp, source, options),
            .norms = {.after_attention = norm(name + ".sa_layer_norm"), .after_feed_forward = norm(name + ".output_layer_norm")},
            .dropouts = {.feed_forward = {name + ".ffn.dropout", dropout}},
            .placement = NormPlacement::kOnSum};
  };
  return make_encoder(body, embeddings, norm, layer, source, options);
}

std::unique_ptr<nn::DocumentScorer> make_distilbert_head(const HeadShape& shape, const JsonReader& config, io::WeightSource& source,
                                                       const at::TensorOptions& options) {
  PooledHeadOptions head{shape.hidden_size, shape.num_labels};
  head.dense = "pre_classifier";
  head.activation = [](const Tensor& x) { return at::relu(x); };
  head.dropout = read_dropout(config, "seq_classif_dropout", 0.2);
  return std::make_unique<PooledHead>(std::move(head), source, options);
}

}  // namespace lora::models
