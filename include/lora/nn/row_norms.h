#pragma once
#include <ATen/core/Tensor.h>

#include <memory>

#include "lora/nn/weight_changes.h"
#include "lora/ops/linear_weight.h"

namespace lora::nn {

using at::Tensor;

/// The norms of the rows of W + scale · B A, which DoRA divides by: float32 [O] (float64 for float64), without gradient. Those of W
/// are kept until base_weights_changed() or another W is in use. I inputs, O outputs, R rank.
class RowNorms {
 public:
  /// Computes them: for passes that train.
  Tensor computed(const std::shared_ptr<const ops::LinearWeight>& weight, const Tensor& A_RI, const Tensor& B_OR, double scale) const;
  /// The same for passes without gradients (evaluation, generation), which keep them until trained_weights_changed().
  Tensor kept(const std::shared_ptr<const ops::LinearWeight>& weight, const Tensor& A_RI, const Tensor& B_OR, double scale) const;

 private:
  /// Makes the norms of W's rows valid, under the lock.
  void update_base(const std::shared_ptr<const ops::LinearWeight>& weight, at::ScalarType dtype) const;

  mutable std::weak_ptr<const ops::LinearWeight> weight_;  ///< the one that base_O_ belongs to
  mutable Tensor base_O_;                                  ///< norms of W's rows
  mutable Tensor sum_O_;                                   ///< undefined: not kept
  mutable double scale_ = 0;                               ///< the one that sum_O_ belongs to
  mutable WeightChanges changes_;                          ///< when they were computed
};

}  // namespace lora::nn
