#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "lora/nn/pass.h"

namespace lora::nn {

/// What a model's own loss is a mean over.
enum class LossMean {
  kRows,    ///< the documents of the batch
  kTokens,  ///< its supervised tokens
};

/// The number of them in a batch.
inline int64_t loss_count(LossMean mean, const Batch& batch) {
  return mean == LossMean::kTokens ? batch.num_supervised() : batch.num_documents();
}

/// A network that takes documents or features as rows and returns one result per row: a prediction, or their loss. R rows, K outputs.
class RowModel {
 public:
  virtual ~RowModel() = default;

  /// [R, K], one row per document of the pass's batch. For a model that predicts.
  virtual Tensor predict(const Pass& pass) const = 0;
  /// K, as found when the model was checked; 0 for a model that returns a loss.
  virtual int64_t num_outputs() const = 0;
  /// Mean loss of the pass's batch, a float32 scalar. For a model that returns a loss.
  virtual Tensor loss(const Pass& pass) const = 0;
  virtual LossMean loss_mean() const = 0;
};

}  // namespace lora::nn
