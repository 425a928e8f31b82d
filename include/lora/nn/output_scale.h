#pragma once
#include "lora/nn/projection_change.h"

namespace lora::nn {

/// y = s ⊙ (x Wᵀ + b), where s is a formula.
class OutputScale : public ProjectionChange {
 public:
  /// s [O], float32, differentiable in the trained tensors.
  virtual Tensor factors() const = 0;

  /// The product is rounded to the input's dtype, as in PEFT.
  Tensor project(const ProjectionCall& call, const Tensor& y_TO) const override;
  Tensor merged_weight(const Tensor& W_OI) const override;
  Tensor merged_bias(const Tensor& b_O) const override;
  bool changes_bias() const override { return true; }
  Kept kept(int64_t out_features) const override;  ///< the unscaled output
};

}  // namespace lora::nn
