#pragma once
#include "lora/nn/row_model.h"
#include "lora/train/document_objective.h"

namespace lora::train {

/// A network's own loss. It is a mean over rows or over supervised tokens, as nn::RowModel states, and is weighted by their number, so
/// that a step does not depend on how it is split into micro-batches.
class ModuleLoss : public DocumentObjective {
 public:
  /// The model must be a RowModel that returns a loss.
  explicit ModuleLoss(const ObjectiveParts& parts);

  BatchSize size(const MicroBatch& batch) const override;
  at::Tensor loss_sum(const nn::Pass& pass, int64_t step) const override;
  /// The loss is computed in the module and included in its passes.
  LossMemory loss_memory(const BatchSize& size) const override { return {size.input, 0, 0}; }
  EvalResult evaluate() const override;

 private:
  int64_t count(const nn::Batch& tokens) const;

  const nn::RowModel& network_;
};

}  // namespace lora::train
