#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "lora/base/json.h"
#include "lora/io/weight_source.h"
#include "lora/nn/document_scorer.h"
#include "lora/nn/dropout.h"
#include "lora/nn/linear.h"
#include "lora/nn/norm.h"

namespace lora::models {

using at::Tensor;

/// A projection of each document's last token that is not padding (transformers' GenericForSequenceClassification).
class ScoreHead : public nn::DocumentScorer {
 public:
  ScoreHead(int64_t hidden_size, int64_t num_labels, std::optional<int64_t> pad_id, io::WeightSource& source,
            const at::TensorOptions& options);

  Tensor scores(const nn::Body& body, const nn::Pass& pass) const override;
  std::vector<nn::Host*> hosts() override { return {&score_}; }

 private:
  nn::Linear score_;
  std::optional<int64_t> pad_id_;
};

/// The components of an encoder's head.
struct PooledHeadOptions {
  int64_t hidden_size;
  int64_t num_labels;
  bool pools_mean = false;  ///< pools the mean of a document's tokens; otherwise its first token
  std::string dense = {};   ///< name of the projection before the one to labels
  bool dense_bias = true;
  std::function<Tensor(const Tensor&)> activation = {};  ///< of its output
  std::unique_ptr<nn::Norm> norm = nullptr;              ///< of the activation; null: none
  std::string output = "classifier";
  double dropout = 0.0;       ///< before the projection to labels
  bool drops_pooled = false;  ///< also before the dense projection
};

/// output(dropout(norm(activation(dense(pooled))))): the heads of BERT and its relatives.
class PooledHead : public nn::DocumentScorer {
 public:
  PooledHead(PooledHeadOptions head, io::WeightSource& source, const at::TensorOptions& options);

  Tensor scores(const nn::Body& body, const nn::Pass& pass) const override;
  std::vector<nn::Host*> hosts() override;

 private:
  PooledHeadOptions options_;
  nn::Linear dense_, output_;
  nn::Dropout pooled_dropout_, dropout_;
};

}  // namespace lora::models
