#pragma once
#include <vector>

#include "lora/nn/parameter.h"
#include "lora/optim/options.h"

namespace lora::optim {

/// Parameters that one fused kernel call can update: the same rates, device and dtype, no memory in common.
struct ParameterGroup {
  double weight_decay = 0.0;
  double rate_factor = 1.0;  ///< of the learning rate
  std::vector<nn::Parameter> parameters;
};

/// Splits by nn::Parameter::weight_decay (0 where it is off), by LoRA+'s learning rates, device and dtype, keeping the
/// order. The kernels walk raw memory, so a parameter with gaps or overlap in it is a programmer's error (c10::Error),
/// as is a name used twice.
/// @param learning_rate the highest of the schedule.
std::vector<ParameterGroup> group_parameters(const std::vector<nn::Parameter>& parameters, const OptimizerOptions& options,
                                             double learning_rate);

/// The gradient in the memory order of its parameter: itself, or a copy where autograd left it in another order.
at::Tensor gradient_in_order_of(const at::Tensor& parameter);

}  // namespace lora::optim
