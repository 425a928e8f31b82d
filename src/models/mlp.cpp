// T tokens, D hidden size.
#include "models/mlp.h"

#include <ATen/ATen.h>

#include "lora/ops/gated_activation.h"

namespace lora::models {

Mlp::Mlp(const std::string& name, const MlpOptions& o, io::WeightSource& source, const at::TensorOptions& options)
    : in_(name + "." + o.in_name, o.in, source, options),
      out_(name + "." + o.out_name, o.out, source, options),
      activation_(o.activation) {}

Tensor Mlp::forward(const Tensor& x_TD, const nn::Pass& pass) const {
  return out_.forward(ops::activation(activation_, in_.forward(x_TD, pass)), pass);
}

nn::Kept Mlp::kept() const {
  return nn::kept_by_project({&in_}) + nn::Kept{width(), 0} + nn::kept_by_project({&out_});
}

}  // namespace lora::models
