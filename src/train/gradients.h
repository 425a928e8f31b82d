#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "lora/comm/communicator.h"
#include "lora/nn/parameter.h"

// The gradients of the trained tensors.
namespace lora::train {

/// Adds the gradients of `scale` times a loss to the existing ones. Returns the unscaled loss in float64.
at::Tensor add_gradients_of(const at::Tensor& loss, double scale);

/// Removes the gradients, which frees their memory.
void clear_gradients(const std::vector<nn::Parameter>& parameters);

/// Divides the gradients by `scale`.
void unscale_gradients(const std::vector<nn::Parameter>& parameters, double scale);

/// Replaces the gradients by their sums over all processes. A parameter that the loss of some process does not depend on has the gradient
/// 0 there; if it has none in any process, it has none afterwards.
void sum_gradients(const std::vector<nn::Parameter>& parameters, comm::Communicator& communicator);

}  // namespace lora::train
