// RoBERTa (Liu et al. 2019), XLM-R (Conneau et al. 2020) and CamemBERT (Martin et al. 2020): BERT's body with positions that start after
// the pad token's id, and their own head.
#include <ATen/ATen.h>

#include "models/bert_body.h"
#include "models/families.h"
#include "models/sequence_heads.h"

namespace lora::models {

std::unique_ptr<nn::Model> make_roberta(const JsonReader& config, io::WeightSource& source, const at::TensorOptions& options) {
  return make_bert_body({.name = "roberta", .pad_id = 1, .positions_skip_pads = true}, config, source, options);
}

std::unique_ptr<nn::Model> make_camembert(const JsonReader& config, io::WeightSource& source, const at::TensorOptions& options) {
  return make_bert_body({.name = "roberta", .pad_id = 1, .positions_skip_pads = true, .target_modules = {}}, config, source, options);
}

std::unique_ptr<nn::DocumentScorer> make_roberta_head(const HeadShape& shape, const JsonReader& config, io::WeightSource& source,
                                                    const at::TensorOptions& options) {
  PooledHeadOptions head{shape.hidden_size, shape.num_labels};
  head.dense = "classifier.dense";
  head.activation = [](const Tensor& x) { return at::tanh(x); };
  head.output = "classifier.out_proj";
  head.dropout = read_classifier_dropout(config);
  head.drops_pooled = true;
  return std::make_unique<PooledHead>(std::move(head), source, options);
}

}  // namespace lora::models
