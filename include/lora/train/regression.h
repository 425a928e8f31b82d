#pragma once
#include "lora/train/document_objective.h"

namespace lora::train {

/// Values of rows by a network that predicts them: the squared error, a mean over rows and values, as transformers' regression has it.
class Regression : public DocumentObjective {
 public:
  /// The model is a RowModel of as many outputs as a target has values (else config Error). `eval` may be null. The references must
  /// outlive the objective.
  Regression(nn::Model& model, const data::Dataset& train, const data::Dataset* eval, const DocumentObjectiveOptions& options);

  at::Tensor loss_sum(const MicroBatch& batch, int64_t step) const override;
  std::vector<std::string> metric_names() const override;
  /// The correlations are means over the values of a target.
  EvalResult evaluate() const override;

 protected:
  int64_t loss_bytes(const BatchSize& size) const override;
  int64_t evaluation_loss_bytes(const BatchSize& size) const override;

 private:
  const nn::RowModel& network_;
};

}  // namespace lora::train
