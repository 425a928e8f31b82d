// T tokens, D hidden size.
#include "models/gated_mlp.h"

#include <ATen/ATen.h>

#include "lora/ops/gated_activation.h"

namespace lora::models {

GatedMlp::GatedMlp(const std::string& name, const GatedMlpOptions& o, io::WeightSource& source, const at::TensorOptions& options)
    : gate_proj_(name + ".gate_proj", {o.hidden_size, o.intermediate_size, o.bias}, source, options),
      up_proj_(name + ".up_proj", {o.hidden_size, o.intermediate_size, o.bias}, source, options),
      down_proj_(name + ".down_proj", {o.intermediate_size, o.hidden_size, o.bias}, source, options),
      activation_(o.activation) {}

Tensor GatedMlp::forward(const Tensor& x_TD, const nn::Pass& pass) const {
  const std::vector<Tensor> gate_up = nn::project(x_TD, {&gate_proj_, &up_proj_}, pass);
  return down_proj_.forward(ops::gated_activation(activation_, gate_up[0], gate_up[1]), pass);
}

nn::Kept GatedMlp::kept() const {
  return nn::kept_by_project({&gate_proj_, &up_proj_}) + nn::Kept{2 * width(), 0} + nn::kept_by_project({&down_proj_});
}

}  // namespace lora::models
