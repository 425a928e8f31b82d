#include "lora/nn/layer_norm.h"

#include <ATen/core/Tensor.h>

#include "lora/ops/layer_norm.h"

namespace lora::nn {

LayerNorm::LayerNorm(const std::string& name, const Shape& shape, io::WeightSource& source, const at::TensorOptions& options)
    : Norm(name),
      weight_D_(add_weight("weight", source.get(name + ".weight", {shape.dim}, io::WeightRole::kNorm).to(options), false)),
      eps_(shape.eps) {
  if (shape.bias) {
    bias_D_ = &add_weight("bias", source.get(name + ".bias", {shape.dim}, io::WeightRole::kBias).to(options), false);
  }
}

Tensor LayerNorm::forward(const Tensor& x_TD) const {
  return ops::layer_norm(x_TD, weight_in_use(), bias_in_use(), eps_);
}

}  // namespace lora::nn
