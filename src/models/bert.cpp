#include <ATen/ATen.h>

#include "models/bert_body.h"
#include "models/families.h"
#include "models/sequence_heads.h"

namespace lora::models {

std::unique_ptr<nn::Model> make_bert(const JsonReader& config, io::WeightSource& source, const at::TensorOptions& options) {
  return make_bert_body({.name = "bert"}, config, source, options);
}

std::unique_ptr<nn::DocumentScorer> make_bert_head(const HeadShape& shape, const JsonReader& config, io::WeightSource& source,
                                                 const at::TensorOptions& options) {
  PooledHeadOptions head{shape.hidden_size, shape.num_labels};
  head.dense = "bert.pooler.dense";
  head.activation = [](const Tensor& x) { return at::tanh(x); };
  head.dropout = read_classifier_dropout(config);
  return std::make_unique<PooledHead>(std::move(head), source, options);
}

}  // namespace lora::models
