// T tokens, D hidden size.
#include "mlp.h"

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

int64_t Mlp::kept_elements() const {
  // The normed input where it is projected with an adapter; what is activated, and the result likewise.
  return (in_.is_plain() ? 0 : in_.in_features()) + (out_.is_plain() ? 1 : 2) * width();
}

}  // namespace lora::models
