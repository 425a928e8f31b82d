#include "lora/nn/input_transform.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "lora/ops/lora_linear.h"

namespace lora::nn {

Tensor InputTransform::project(const ProjectionCall& call, const Tensor& y_TO) const {
  const Tensor& x_TI = call.x_TI;
  const Tensor turned_TI = transform(x_TI.to(at::kFloat)).to(x_TI.scalar_type());
  if (!y_TO.defined()) {
    return ops::linear(turned_TI, call.weight, call.bias_O);
  }
  return y_TO + ops::linear(turned_TI - x_TI, call.weight, std::nullopt);
}

Tensor InputTransform::merged_weight(const Tensor& W_OI) const {
  const at::NoGradGuard no_grad;
  const Tensor wide_OI = W_OI.to(at::promote_types(W_OI.scalar_type(), at::kFloat));
  const Tensor units_II = at::eye(W_OI.size(1), wide_OI.options().dtype(at::kFloat));
  return at::linear(wide_OI, transform(units_II).to(wide_OI.scalar_type()));
}

}  // namespace lora::nn
