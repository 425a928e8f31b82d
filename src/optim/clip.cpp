#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "lora/optim/optimizer.h"
#include "optim/groups.h"

namespace lora::optim {
namespace {

/// The gradients of one group that exist.
std::vector<at::Tensor> gradients_of(const ParameterGroup& group) {
  std::vector<at::Tensor> gradients;
  for (const nn::Parameter& parameter : group.parameters) {
    if (parameter.tensor.grad().defined()) {
      gradients.push_back(parameter.tensor.grad());
    }
  }
  return gradients;
}

}  // namespace

double clip_grad_norm(const std::vector<nn::Parameter>& parameters, double max_norm) {
  const at::NoGradGuard no_grad;
  std::vector<std::vector<at::Tensor>> gradients;
  std::vector<at::Tensor> norms;
  for (const ParameterGroup& group : group_parameters(parameters, OptimizerOptions(), 1.0)) {
    gradients.push_back(gradients_of(group));
    if (gradients.back().empty()) {
      continue;
    }
    // At least float32: torch rounds the norm of half-precision gradients to half, and float16's would overflow at 65504.
    const at::ScalarType dtype = at::promote_types(group.parameters.front().tensor.scalar_type(), at::kFloat);
    for (const at::Tensor& norm : at::_foreach_norm(gradients.back(), 2, dtype)) {
      norms.push_back(norms.empty() ? norm : norm.to(norms.front().device()));
    }
  }
  if (norms.empty()) {
    return 0.0;
  }
  const double norm = at::linalg_vector_norm(at::stack(norms), 2).item<double>();
  // In float32 and by the reciprocal, the roundings of torch's `max_norm / (total_norm + 1e-6)` on a tensor.
  const float factor = (1.0F / (static_cast<float>(norm) + 1e-6F)) * static_cast<float>(max_norm);
  if (max_norm > 0.0 && !(factor >= 1.0F)) {  // also where the norm is NaN, as in torch
    for (const std::vector<at::Tensor>& group : gradients) {
      if (!group.empty()) {
        at::_foreach_mul_(group, factor);
      }
    }
  }
  return norm;
}

}  // namespace lora::optim
