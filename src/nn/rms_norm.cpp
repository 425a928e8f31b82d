#include "lora/nn/rms_norm.h"

#include <ATen/core/Tensor.h>

#include "lora/ops/rms_norm.h"

namespace lora::nn {

RmsNorm::RmsNorm(const std::string& name, int64_t dim, double eps, io::WeightSource& source, const at::TensorOptions& options)
    : Norm(name),
      weight_D_(add_weight("weight", source.get(name + ".weight", {dim}, io::WeightRole::kNorm).to(options), false)),
      eps_(eps) {}

Tensor RmsNorm::forward(const Tensor& x_TD) const {
  return ops::rms_norm(x_TD, weight_D_.current(), eps_);
}

}  // namespace lora::nn
