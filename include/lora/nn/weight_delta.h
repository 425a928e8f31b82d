#pragma once
#include "lora/nn/projection_change.h"

namespace lora::nn {

/// y = x (W + ΔW)ᵀ + b, where ΔW is a formula: y = x Wᵀ + b + dropout(x) ΔWᵀ over any form of W.
class WeightDelta : public ProjectionChange {
 public:
  /// @param dropout the rate for the input of the change.
  explicit WeightDelta(double dropout = 0.0) : dropout_(dropout) {}

  /// ΔW [O, I], float32, differentiable in the trained tensors.
  /// @param weight W, for its shape; only a formula over W itself reads its numbers.
  virtual Tensor delta(const ops::LinearWeight& weight) const = 0;
  /// x ΔWᵀ, [T, O]. A formula whose factors are smaller than ΔW multiplies by them instead. @param x_TI float32.
  virtual Tensor multiply(const Tensor& x_TI, const ops::LinearWeight& weight) const;

  /// Where the sum is wider than the input (float32, and the input bfloat16), it is rounded once, as in PEFT.
  Tensor project(const ProjectionCall& call, const Tensor& y_TO) const override;
  Tensor merged_weight(const Tensor& W_OI) const override;

 private:
  double dropout_;
};

}  // namespace lora::nn
