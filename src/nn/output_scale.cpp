#include "lora/nn/output_scale.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

namespace lora::nn {

Tensor OutputScale::project(const ProjectionCall& call, const Tensor& y_TO) const {
  const Tensor before_TO = y_TO.defined() ? y_TO : call.base();
  return (before_TO * factors()).to(call.x_TI.scalar_type());
}

Tensor OutputScale::merged_weight(const Tensor& W_OI) const {
  const at::NoGradGuard no_grad;
  return W_OI * factors().unsqueeze(1);
}

Tensor OutputScale::merged_bias(const Tensor& b_O) const {
  const at::NoGradGuard no_grad;
  return b_O * factors();
}

Kept OutputScale::kept(int64_t out_features) const {
  return {out_features, 0};
}

}  // namespace lora::nn
