#include "optim/groups.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <set>
#include <string>

namespace lora::optim {

namespace {

/// A parameter's learning rate with LoRA+, relative to the run's, as PEFT's create_loraplus_optimizer groups them.
double rate_factor(const nn::Parameter& parameter, const LoraPlusOptions& options, double learning_rate) {
  if (!options.lr_ratio) {
    return 1.0;
  }
  using nn::ParameterRole;
  if (parameter.role == ParameterRole::kEmbeddingA || parameter.role == ParameterRole::kEmbeddingB) {
    return options.lr_embedding / learning_rate;
  }
  return parameter.role == ParameterRole::kLowRankB || parameter.role == ParameterRole::kLowRankBias || parameter.tensor.dim() == 1
             ? *options.lr_ratio
             : 1.0;
}

/// Tied parameters are updated one after the other, not by one kernel at once.
bool holds_memory_of(const ParameterGroup& group, const at::Tensor& tensor) {
  return std::any_of(group.parameters.begin(), group.parameters.end(),
                     [&tensor](const nn::Parameter& other) { return other.tensor.data_ptr() == tensor.data_ptr(); });
}

}  // namespace

std::vector<ParameterGroup> group_parameters(const std::vector<nn::Parameter>& parameters, const OptimizerOptions& options,
                                             double learning_rate) {
  const double weight_decay = options.loraplus.lr_ratio ? options.loraplus.weight_decay : options.weight_decay;
  std::vector<ParameterGroup> groups;
  std::set<std::string> names;
  for (const nn::Parameter& parameter : parameters) {
    const at::Tensor& tensor = parameter.tensor;
    TORCH_CHECK(names.insert(parameter.name).second, "two parameters have the name ", parameter.name);
    TORCH_CHECK(tensor.is_non_overlapping_and_dense(), "parameter ", parameter.name, " has gaps or overlap in memory");
    const double decay = parameter.weight_decay ? weight_decay : 0.0;
    const double factor = rate_factor(parameter, options.loraplus, learning_rate);
    auto group = std::find_if(groups.begin(), groups.end(), [&](const ParameterGroup& candidate) {
      const at::Tensor& first = candidate.parameters.front().tensor;
      return candidate.weight_decay == decay && candidate.rate_factor == factor && first.device() == tensor.device() &&
             first.scalar_type() == tensor.scalar_type() && !holds_memory_of(candidate, tensor);
    });
    if (group == groups.end()) {
      group = groups.insert(groups.end(), ParameterGroup{decay, factor, {}});
    }
    group->parameters.push_back(parameter);
  }
  return groups;
}

std::vector<ParameterGroup> split_groups(const std::vector<ParameterGroup>& groups, int64_t most) {
  std::vector<ParameterGroup> result;
  for (const ParameterGroup& group : groups) {
    int64_t elements = most;  // of the last group of the result, which is full at the beginning
    for (const nn::Parameter& parameter : group.parameters) {
      if (elements + parameter.tensor.numel() > most) {
        result.push_back({group.weight_decay, group.rate_factor, {}});
        elements = 0;
      }
      result.back().parameters.push_back(parameter);
      elements += parameter.tensor.numel();
    }
  }
  return result;
}

Updates updates_of(const ParameterGroup& group) {
  Updates updates;
  for (size_t i = 0; i < group.parameters.size(); ++i) {
    const at::Tensor& parameter = group.parameters[i].tensor;
    const at::Tensor& gradient = parameter.grad();
    if (gradient.defined()) {
      updates.indices.push_back(i);
      updates.parameters.push_back(parameter);
      updates.gradients.push_back(gradient.strides() == parameter.strides() ? gradient : at::empty_like(parameter).copy_(gradient));
    }
  }
  return updates;
}

std::vector<at::Tensor> scaled_gradients(const Updates& updates, double scale) {
  return scale == 1.0 ? updates.gradients : at::_foreach_mul(updates.gradients, scale);
}

void mark_changed(const std::vector<at::Tensor>& parameters) {
  for (const at::Tensor& parameter : parameters) {
    parameter.unsafeGetTensorImpl()->bump_version();
  }
}

std::vector<at::Tensor> zero_moments(StateMemory& memory, const ParameterGroup& group) {
  std::vector<at::Tensor> moments;
  for (const nn::Parameter& parameter : group.parameters) {
    moments.push_back(memory.zeros_like(parameter.tensor, parameter.tensor.scalar_type()));
  }
  return moments;
}

std::vector<at::Tensor> chosen(const std::vector<at::Tensor>& tensors, const Updates& updates) {
  std::vector<at::Tensor> result;
  for (const size_t index : updates.indices) {
    result.push_back(tensors[index]);
  }
  return result;
}

}  // namespace lora::optim
