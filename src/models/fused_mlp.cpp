// T tokens, D hidden size.
#include "fused_mlp.h"

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

int64_t FusedMlp::kept_elements() const {
  // The normed input where it is projected with an adapter; gate and up, and the result likewise.
  return (in_.is_plain() ? 0 : in_.in_features()) + (out_.is_plain() ? 2 : 3) * width();
}

}  // namespace lora::models
