#pragma once
#include "lora/nn/row_model.h"
#include "lora/train/document_objective.h"

namespace lora::train {

/// A network's own loss. It is a mean over rows or over supervised tokens, as nn::RowModel states, and is weighted by their number, so
/// that a step does not depend on how it is split into micro-batches.
class ModuleLoss : public DocumentObjective {
 public:
  /// The model must be a RowModel that returns a loss. `eval` may be null. The references must outlive the objective.
  ModuleLoss(nn::Model& model, const data::Dataset& train, const data::Dataset* eval, const DocumentObjectiveOptions& options);

  BatchSize size(const MicroBatch& batch) const override;
  at::Tensor loss_sum(const MicroBatch& batch, int64_t step) const override;
  EvalResult evaluate() const override;

 protected:
  int64_t loss_bytes(const BatchSize& size) const override;
  int64_t evaluation_loss_bytes(const BatchSize& size) const override;

 private:
  int64_t count(const nn::Batch& tokens) const;

  const nn::RowModel& network_;
};

}  // namespace lora::train
