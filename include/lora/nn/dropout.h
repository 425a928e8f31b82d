#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "lora/nn/pass.h"
#include "lora/ops/dropout.h"

namespace lora::nn {

/// A dropout of the base model itself, at one of its modules. It is only active in training, and its random numbers depend on
/// the token's key and the module's name, so that no split into micro-batches changes them.
class Dropout {
 public:
  /// @param name the module's in transformers, or one that describes the position. @param p probability of zero; 0 ≤ p < 1.
  Dropout(const std::string& name, double p);

  Tensor forward(const Tensor& x_TD, const Pass& pass) const;
  /// The draw of this pass, for ops that apply dropout themselves.
  ops::DropoutDraw draw(const Pass& pass) const { return {pass.row_keys_T, site_key_, p_}; }
  /// Whether it is active in this pass.
  bool active(const Pass& pass) const { return p_ > 0.0 && pass.training(); }

 private:
  uint64_t site_key_;
  double p_;
};

}  // namespace lora::nn
