#pragma once
#include "lora/train/document_objective.h"

namespace lora::train {

/// Predicts values per row with a network: the squared error, averaged over rows and values, as transformers' regression.
class Regression : public DocumentObjective {
 public:
  /// The model must be a RowModel with as many outputs as a target has values (otherwise data Error).
  explicit Regression(const ObjectiveParts& parts);

  at::Tensor loss_sum(const nn::Pass& pass, int64_t step) const override;
  LossMemory loss_memory(const BatchSize& size) const override;
  std::vector<std::string> metric_names() const override;
  /// The correlations are means over the values of a target.
  EvalResult evaluate() const override;

 private:
  const nn::RowModel& network_;
};

/// Measures how close predicted values are to their targets.
class ValueTally {
 public:
  /// [rows, values], or [rows] for targets with one value each.
  void add(const at::Tensor& predicted, const at::Tensor& targets);
  /// Number of rows added.
  int64_t count() const { return count_; }
  /// The mean loss, and the metrics as means over a target's values.
  EvalResult result() const;

 private:
  double loss_ = 0;
  int64_t count_ = 0;
  std::vector<std::vector<double>> predicted_, targets_;  ///< by value, then by row
};

}  // namespace lora::train
