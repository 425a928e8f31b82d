// T tokens, D hidden size.
#include "models/fused_mlp.h"

#include <ATen/ATen.h>

#include "lora/ops/gated_activation.h"

namespace lora::models {

FusedMlp::FusedMlp(const std::string& name, const FusedMlpOptions& o, io::WeightSource& source, const at::TensorOptions& options)
    : in_(name + "." + o.in_name, o.in, source, options),
      out_(name + "." + o.out_name, o.out, source, options),
      dropout_(name + ".dropout", o.dropout),
      activation_(o.activation) {}

Tensor FusedMlp::forward(const Tensor& x_TD, const nn::Pass& pass) const {
  const std::vector<Tensor> gate_up = in_.forward(x_TD, pass).chunk(2, 1);
  return out_.forward(dropout_.forward(ops::gated_activation(activation_, gate_up[0], gate_up[1]), pass), pass);
}

nn::Kept FusedMlp::kept() const {
  return nn::kept_by_project({&in_}) + nn::Kept{2 * width(), 0} + nn::kept_by_project({&out_});
}

}  // namespace lora::models
