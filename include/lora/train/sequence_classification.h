#pragma once
#include "lora/data/labels.h"
#include "lora/train/document_objective.h"

namespace lora::train {

/// Labels whole documents with the model's sequence head, or rows with a network that predicts them: cross-entropy of classes, or the
/// squared error of a regression, as transformers' AutoModelForSequenceClassification.
class SequenceClassification : public DocumentObjective {
 public:
  /// The model must have a sequence head with as many labels as `labels`, or predict as many classes. `eval` may be null. The references
  /// must outlive the objective.
  SequenceClassification(nn::Model& model, const data::Dataset& train, const data::Dataset* eval, const data::LabelSet& labels,
                         const DocumentObjectiveOptions& options);

  at::Tensor loss_sum(const MicroBatch& batch, int64_t step) const override;
  std::vector<std::string> metric_names() const override;
  EvalResult evaluate() const override;

 protected:
  int64_t loss_bytes(const BatchSize& size) const override;
  int64_t evaluation_loss_bytes(const BatchSize& size) const override;

 private:
  bool is_regression_;
};

/// The model's outputs for the rows of a batch, without gradients or dropout: the scores of classes, or values. [rows, outputs], on the
/// model's device.
at::Tensor row_outputs(const nn::Model& model, const nn::Batch& tokens);

/// Measures how well documents are labelled.
class LabelTally {
 public:
  explicit LabelTally(bool is_regression) : is_regression_(is_regression) {}

  /// @param targets one per document, with the precision of its row; documents without one are ignored.
  void add(const at::Tensor& outputs, const std::vector<std::optional<double>>& targets);
  /// Number of documents with a target.
  int64_t count() const { return static_cast<int64_t>(targets_.size()); }
  /// Mean loss and metrics over everything added.
  EvalResult result() const;

 private:
  bool is_regression_;
  double loss_ = 0;
  int64_t num_labels_ = 0;
  std::vector<double> predicted_, targets_;  ///< classes or values
};

/// The targets of a batch's documents.
std::vector<std::optional<double>> targets_of(const data::Dataset& dataset, const nn::Batch& tokens);

}  // namespace lora::train
