// T tokens, D hidden size.
#include "gated_mlp.h"

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

int64_t GatedMlp::kept_elements() const {
  // The normed input where it is projected with an adapter; gate and up, and their product likewise.
  const bool adapted = !(gate_proj_.is_plain() && up_proj_.is_plain());
  return (adapted ? gate_proj_.in_features() : 0) + (down_proj_.is_plain() ? 2 : 3) * width();
}

}  // namespace lora::models
