#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "lora/nn/pass.h"
#include "lora/ops/dropout.h"

namespace lora::nn {

/// A dropout of the base model itself, at one place of it. It acts in training alone, and is drawn by the token's key and
/// the place's name, so that no split into micro-batches changes it.
class Dropout {
 public:
  /// @param name the module's in transformers, or the place's. @param p probability of zero; 0 ≤ p < 1.
  Dropout(const std::string& name, double p);

  Tensor forward(const Tensor& x_TD, const Pass& pass) const;
  /// What it drops in this pass, for ops that draw by themselves.
  ops::DropoutDraw draw(const Pass& pass) const { return {pass.row_keys_T, site_key_, p_}; }
  /// Whether it does anything in this pass.
  bool active(const Pass& pass) const { return p_ > 0.0 && pass.training(); }

 private:
  uint64_t site_key_;
  double p_;
};

}  // namespace lora::nn
