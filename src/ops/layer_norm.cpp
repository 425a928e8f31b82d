#include "lora/ops/layer_norm.h"

#include <ATen/ATen.h>

namespace lora::ops {

Tensor layer_norm(const Tensor& x, const std::optional<Tensor>& weight_D, const std::optional<Tensor>& bias_D, double eps) {
  return at::layer_norm(x, {x.size(-1)}, weight_D.value_or(Tensor()), bias_D.value_or(Tensor()), eps);
}

Tensor layer_norm_reference(const Tensor& x, const std::optional<Tensor>& weight_D, const std::optional<Tensor>& bias_D, double eps) {
  const at::ScalarType wide = x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const Tensor centred = x.to(wide) - x.to(wide).mean(-1, /*keepdim=*/true);
  Tensor y = centred * at::rsqrt(centred.square().mean(-1, /*keepdim=*/true) + eps);
  y = weight_D ? y * weight_D->to(wide) : y;
  y = bias_D ? y + bias_D->to(wide) : y;
  return y.to(x.scalar_type());
}

}  // namespace lora::ops
