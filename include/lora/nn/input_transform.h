#pragma once
#include "lora/nn/projection_change.h"

namespace lora::nn {

/// y = T(x) Wᵀ + b, where T is linear and a formula. W is only multiplied by, so that it may have any form.
class InputTransform : public ProjectionChange {
 public:
  /// T applied to each row of x_TI, in float32 and differentiable.
  virtual Tensor transform(const Tensor& x_TI) const = 0;

  /// The transformed input is rounded to the input's dtype, as in PEFT.
  Tensor project(const ProjectionCall& call, const Tensor& y_TO) const override;
  /// W T, with T from the transformed unit vectors.
  Tensor merged_weight(const Tensor& W_OI) const override;
};

}  // namespace lora::nn
