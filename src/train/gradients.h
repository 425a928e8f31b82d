#pragma once
#include <ATen/core/Tensor.h>

namespace lora::train {

/// Adds the gradients of `scale` times a loss to the existing ones. Returns the unscaled loss in float64.
at::Tensor add_gradients_of(const at::Tensor& loss, double scale);

}  // namespace lora::train
