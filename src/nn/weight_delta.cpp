#include "lora/nn/weight_delta.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "lora/base/random.h"
#include "lora/nn/pass.h"
#include "lora/ops/dropout.h"

namespace lora::nn {

Tensor WeightDelta::multiply(const Tensor& x_TI, const ops::LinearWeight& weight) const {
  return at::linear(x_TI, delta(weight));
}

Tensor WeightDelta::project(const ProjectionCall& call, const Tensor& y_TO) const {
  const Tensor before_TO = y_TO.defined() ? y_TO : call.base();
  const ops::DropoutDraw draw{call.pass.row_keys_T, mix64(call.host_key, hash_name("weight_delta")), dropout_};
  const Tensor x_TI = ops::differentiable_dropout(call.x_TI, draw).to(at::kFloat);
  return (before_TO + multiply(x_TI, *call.weight)).to(call.x_TI.scalar_type());
}

Tensor WeightDelta::merged_weight(const Tensor& W_OI) const {
  const at::NoGradGuard no_grad;
  return W_OI.to(at::promote_types(W_OI.scalar_type(), at::kFloat)) + delta(ops::DenseWeight(W_OI));
}

}  // namespace lora::nn
