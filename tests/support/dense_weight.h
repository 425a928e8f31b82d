#pragma once
#include <memory>

#include "lora/ops/linear_weight.h"

namespace lora::test {

/// The tensor as what a projection multiplies by.
inline std::shared_ptr<const ops::LinearWeight> dense(at::Tensor W_OI) {
  return std::make_shared<const ops::DenseWeight>(std::move(W_OI));
}

}  // namespace lora::test
