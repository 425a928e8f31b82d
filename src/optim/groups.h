#pragma once
#include <vector>

#include "lora/nn/parameter.h"
#include "lora/optim/options.h"
#include "optim/state_memory.h"

namespace lora::optim {

/// Parameters for one fused update: with the same rates, device and dtype, and without memory in common.
struct ParameterGroup {
  double weight_decay = 0.0;
  double rate_factor = 1.0;  ///< factor of the learning rate
  std::vector<nn::Parameter> parameters;
};

/// Splits by nn::Parameter::weight_decay (0 if it is off), by LoRA+'s learning rates, device and dtype, keeping the order. The kernels
/// walk raw memory, so a parameter with gaps or overlap in memory is a programming error (c10::Error), as is a duplicate name.
/// @param learning_rate the highest of the schedule.
std::vector<ParameterGroup> group_parameters(const std::vector<nn::Parameter>& parameters, const OptimizerOptions& options,
                                             double learning_rate);

/// The same parameters in groups of at most `most` elements, or of a single larger parameter.
std::vector<ParameterGroup> split_groups(const std::vector<ParameterGroup>& groups, int64_t most);

/// What an optimiser updates at once: the parameters of a group that have a gradient, and their indices.
struct Updates {
  std::vector<size_t> indices;  ///< in ParameterGroup::parameters
  std::vector<at::Tensor> parameters;
  std::vector<at::Tensor> gradients;  ///< in the memory order of their parameters

  bool empty() const { return parameters.empty(); }
  bool on_cpu() const { return !empty() && parameters.front().is_cpu(); }
};

Updates updates_of(const ParameterGroup& group);

/// The gradients themselves, or copies multiplied by `scale` if it is not 1.
std::vector<at::Tensor> scaled_gradients(const Updates& updates, double scale);

/// Call after writing to raw memory: marks parameters as changed for caches and for values saved for backward.
void mark_changed(const std::vector<at::Tensor>& parameters);

/// A moment for each parameter, in its dtype and memory order.
std::vector<at::Tensor> zero_moments(StateMemory& memory, const ParameterGroup& group);

/// Those of `tensors` that an update affects.
std::vector<at::Tensor> chosen(const std::vector<at::Tensor>& tensors, const Updates& updates);

}  // namespace lora::optim
