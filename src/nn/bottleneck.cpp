// T tokens, D channels, B channels of the bottleneck.
#include "lora/nn/bottleneck.h"

#include <ATen/ATen.h>

#include "lora/nn/norm.h"
#include "lora/ops/layer_norm.h"

namespace lora::nn {

namespace {

constexpr double kLayerNormEps = 1e-5;  // of torch.nn.LayerNorm

Tensor activated(const Tensor& x, BottleneckActivation activation) {
  switch (activation) {
    case BottleneckActivation::kRelu:
      return x.relu();
    case BottleneckActivation::kSilu:
      return at::silu(x);
    case BottleneckActivation::kGelu:
      return at::gelu(x);
    case BottleneckActivation::kGeluTanh:
      return at::gelu(x, "tanh");
    case BottleneckActivation::kLeakyRelu:
      return at::leaky_relu(x);
    case BottleneckActivation::kTanh:
      return x.tanh();
  }
  return x;
}

Tensor with_norm(const Tensor& x, const std::optional<BottleneckNorm>& norm) {
  return norm ? ops::layer_norm(x, norm->weight_D, norm->bias_D, kLayerNormEps) : x;
}

}  // namespace

std::vector<Tensor> Bottleneck::tensors() const {
  std::vector<Tensor> all{down_BD, down_bias_B, up_DB, up_bias_D};
  for (const auto& norm : {norm_before, norm_after}) {
    if (norm) {
      all.insert(all.end(), {norm->weight_D, norm->bias_D});
    }
  }
  if (scaling) {
    all.push_back(*scaling);
  }
  return all;
}

Kept Bottleneck::kept(int64_t channels) const {
  constexpr int64_t kStatistics = 2;  // of a row in a norm
  const int64_t width = down_BD.size(0);
  // The input in float32, and the bottleneck before and after its activation.
  Kept kept{0, channels + 2 * width};
  for (const auto& norm : {norm_before, norm_after}) {
    kept += norm ? Kept{0, channels + kStatistics} : Kept{};
  }
  kept += scaling ? Kept{0, channels} : Kept{};
  kept += form.original_ln_before && !form.is_parallel ? Kept{channels, kStatistics} : Kept{};  // the layer's norm, if it has one
  return kept;
}

Tensor Bottleneck::bottleneck(const Tensor& h_TD, const Pass& pass) const {
  const Tensor down_TB = at::linear(with_norm(h_TD, norm_before), down_BD, down_bias_B);
  const Tensor up_TD = at::linear(activated(down_TB, form.activation), up_DB, up_bias_D);
  return dropout.forward(scaling ? up_TD * *scaling : up_TD * form.scaling, pass);
}

std::pair<Tensor, Tensor> Bottleneck::input_and_residual(const BlockOutput& output) const {
  if (!form.original_ln_before) {
    return {output.block_TD, output.block_TD};
  }
  if (output.norm == nullptr) {
    const Tensor sum_TD = output.sum();
    return {sum_TD, form.residual == BottleneckResidual::kBlock ? output.block_TD : sum_TD};
  }
  const Tensor sum_TD = output.residual_TD + output.block_TD;
  const Tensor normed_TD = output.norm->forward(sum_TD);
  switch (form.residual) {
    case BottleneckResidual::kBlock:
      return {normed_TD, output.block_TD};
    case BottleneckResidual::kNormed:
      return {normed_TD, normed_TD};
    case BottleneckResidual::kSum:
      return {normed_TD, sum_TD};
  }
  return {normed_TD, normed_TD};
}

/// In float32 whatever the dtype of the base, as its tensors are.
Tensor Bottleneck::tap(const BlockOutput& output, const Pass& pass) const {
  const at::ScalarType dtype = output.block_TD.scalar_type(), wide = down_BD.scalar_type();
  if (form.is_parallel) {
    const Tensor own_TD = with_norm(bottleneck(output.residual_TD.to(wide), pass), norm_after);
    return (output.block_TD + own_TD).to(dtype);
  }
  const auto [input_TD, residual_TD] = input_and_residual(output);
  const Tensor own_TD = bottleneck(input_TD.to(wide), pass);
  if (form.adapter_residual_before_ln) {
    return with_norm(own_TD + residual_TD, norm_after).to(dtype);
  }
  return (with_norm(own_TD, norm_after) + residual_TD).to(dtype);
}

}  // namespace lora::nn
