#pragma once
#include <ATen/core/Tensor.h>

namespace lora::train {

/// Adds the gradients of `scale` times a loss to those there are; the loss alone, in float64.
at::Tensor add_gradients_of(const at::Tensor& loss, double scale);

}  // namespace lora::train
