#include "optim/groups.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <set>
#include <string>

namespace lora::optim {

std::vector<ParameterGroup> group_parameters(const std::vector<nn::Parameter>& parameters, double weight_decay) {
  std::vector<ParameterGroup> groups;
  std::set<std::string> names;
  for (const nn::Parameter& parameter : parameters) {
    const at::Tensor& tensor = parameter.tensor;
    TORCH_CHECK(names.insert(parameter.name).second, "two parameters are called ", parameter.name);
    TORCH_CHECK(tensor.is_non_overlapping_and_dense(), "parameter ", parameter.name, " has gaps or overlap in memory");
    const double decay = parameter.weight_decay ? weight_decay : 0.0;
    auto group = std::find_if(groups.begin(), groups.end(), [&](const ParameterGroup& candidate) {
      const at::Tensor& first = candidate.parameters.front().tensor;
      return candidate.weight_decay == decay && first.device() == tensor.device() && first.scalar_type() == tensor.scalar_type();
    });
    if (group == groups.end()) {
      group = groups.insert(groups.end(), ParameterGroup{decay, {}});
    }
    group->parameters.push_back(parameter);
  }
  return groups;
}

at::Tensor gradient_in_order_of(const at::Tensor& parameter) {
  const at::Tensor& gradient = parameter.grad();
  return gradient.strides() == parameter.strides() ? gradient : at::empty_like(parameter).copy_(gradient);
}

}  // namespace lora::optim
