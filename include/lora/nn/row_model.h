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

/// How many of them are in a batch.
inline int64_t loss_count(LossMean mean, const TokenBatch& batch) {
  return mean == LossMean::kTokens ? batch.num_supervised : batch.num_documents();
}

/// A network that takes documents or features as rows and gives what it makes of each row as a whole: a prediction, or their loss.
/// R rows, K outputs.
class RowModel {
 public:
  virtual ~RowModel() = default;

  /// [R, K], of the documents of the pass's batch. Of a model that predicts.
  virtual Tensor predict(const Pass& pass) const = 0;
  /// K, as the checks of loading found it; 0 of a model that gives a loss.
  virtual int64_t num_outputs() const = 0;
  /// Mean loss of the pass's batch, a float32 scalar. Of a model that gives a loss.
  virtual Tensor loss(const Pass& pass) const = 0;
  virtual LossMean loss_mean() const = 0;
};

}  // namespace lora::nn
