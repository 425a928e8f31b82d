#include "train/gradients.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

namespace lora::train {

at::Tensor add_gradients_of(const at::Tensor& loss, double scale) {
  (loss * scale).backward();
  return loss.detach().to(at::kDouble);
}

void clear_gradients(const std::vector<nn::Parameter>& parameters) {
  for (const nn::Parameter& parameter : parameters) {
    parameter.tensor.mutable_grad() = at::Tensor();
  }
}

void unscale_gradients(const std::vector<nn::Parameter>& parameters, double scale) {
  const at::NoGradGuard no_grad;
  for (const nn::Parameter& parameter : parameters) {
    if (parameter.tensor.grad().defined()) {
      parameter.tensor.grad().mul_(1.0 / scale);
    }
  }
}

void sum_gradients(const std::vector<nn::Parameter>& parameters, comm::Communicator& communicator) {
  if (communicator.size() == 1) {
    return;
  }
  const at::NoGradGuard no_grad;
  std::vector<double> processes_with;  // number of processes in which the parameter has a gradient
  for (const nn::Parameter& parameter : parameters) {
    processes_with.push_back(parameter.tensor.grad().defined() ? 1 : 0);
  }
  communicator.all_reduce_sum(processes_with);
  std::vector<at::Tensor> gradients;
  for (size_t i = 0; i < parameters.size(); ++i) {
    if (processes_with[i] == 0) {
      continue;
    }
    at::Tensor& gradient = parameters[i].tensor.mutable_grad();
    if (!gradient.defined()) {
      gradient = at::zeros_like(parameters[i].tensor);
    }
    gradients.push_back(gradient);
  }
  communicator.all_reduce_sum(gradients);
}

}  // namespace lora::train
