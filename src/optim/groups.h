#pragma once
#include <vector>

#include "lora/nn/parameter.h"
#include "lora/optim/options.h"

namespace lora::optim {

/// Parameters that one fused update can take: the same rates, device and dtype, no memory in common.
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

/// What an optimiser updates at once: parameters of a group with a gradient, and which ones of it they are.
struct Updates {
  std::vector<size_t> indices;  ///< in ParameterGroup::parameters
  std::vector<at::Tensor> parameters;
  std::vector<at::Tensor> gradients;  ///< in the memory order of their parameters

  bool empty() const { return parameters.empty(); }
  bool on_cpu() const { return !empty() && parameters.front().is_cpu(); }
};

Updates updates_of(const ParameterGroup& group);

/// The gradients themselves, or copies times `scale` where it is not 1.
std::vector<at::Tensor> scaled_gradients(const Updates& updates, double scale);

/// After raw memory was written to: what is cached of the parameters, or saved for a backward, must notice.
void mark_changed(const std::vector<at::Tensor>& parameters);

/// A moment for each parameter, in its dtype and memory order.
std::vector<at::Tensor> zero_moments(const ParameterGroup& group);

/// Those of `tensors` that an update is about.
std::vector<at::Tensor> chosen(const std::vector<at::Tensor>& tensors, const Updates& updates);

}  // namespace lora::optim
