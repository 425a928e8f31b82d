#include "lora/nn/rms_norm.h"

#include <ATen/ATen.h>

namespace lora::nn {

RmsNorm::RmsNorm(const std::string& name, int64_t dim, double eps, io::WeightSource& source, const at::TensorOptions& options)
    : Host(name),
      weight_D_(add_weight("weight", source.get(name + ".weight", {dim}, io::WeightRole::kNorm).to(options), false)),
      eps_(eps) {}

Tensor RmsNorm::forward(const Tensor& x_TD) const {
  const auto wide = x_TD.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const Tensor wide_TD = x_TD.to(wide);
  const Tensor scale_T1 = at::rsqrt(wide_TD.square().mean(-1, /*keepdim=*/true) + eps_);
  return weight_D_.current() * (wide_TD * scale_T1).to(x_TD.scalar_type());
}

}  // namespace lora::nn
