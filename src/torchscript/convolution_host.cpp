#include "torchscript/convolution_host.h"

#include <ATen/ATen.h>

#include "lora/base/error.h"
#include "lora/base/random.h"
#include "lora/ops/dropout.h"
#include "torchscript/hosts.h"

namespace lora::torchscript {

namespace {

using at::Tensor;

Tensor convolved(const Tensor& x, const Tensor& kernels, const std::optional<Tensor>& bias, const KernelMoves& moves) {
  const std::vector<int64_t> no_output_padding(static_cast<size_t>(kernels.dim()) - 2, 0);
  return at::convolution(x, kernels, bias, moves.stride, moves.padding, moves.dilation, /*transposed=*/false, no_output_padding,
                         /*groups=*/1);
}

/// The dropout of places, [N, C, places...], whose keys are those of [N, places..., C].
Tensor dropped_places(const Tensor& x, const ops::DropoutDraw& draw) {
  if (!draw.active()) {
    return x;
  }
  const Tensor last = x.movedim(1, -1);
  return ops::differentiable_dropout(last.reshape({-1, last.size(-1)}), draw).view(last.sizes()).movedim(-1, 1);
}

}  // namespace

ConvolutionHost::ConvolutionHost(const std::string& name, const Tensor& weight, const Tensor& bias)
    : MatrixHost(name, std::make_shared<const ops::DenseWeight>(weight)), name_key_(hash_name(name)) {
  if (bias.defined()) {
    bias_ = &add_weight("bias", bias, /*weight_decay=*/false);
  }
}

const char* ConvolutionHost::kind() const {
  const int64_t axes = matrix()->tensor().dim() - 2;
  return axes == 1 ? "Conv1d" : axes == 2 ? "Conv2d" : "Conv3d";
}

Tensor ConvolutionHost::forward(const Tensor& x, const std::optional<Tensor>& bias, const KernelMoves& moves,
                                const nn::Pass& pass) const {
  const Tensor kernels = matrix_in_use()->tensor();
  std::vector<const nn::LowRank*> pairs;
  for (const nn::LowRank* pair : attached<nn::LowRank>()) {
    if (pair->enabled && pair->magnitude_O) {
      return convolved(x, effective_weight(*this), bias, moves);
    }
    if (pair->enabled) {
      pairs.push_back(pair);
    }
  }
  Tensor y = convolved(x, kernels, bias, moves);
  const std::vector<int64_t> ones(static_cast<size_t>(kernels.dim()) - 2, 1), zeros(ones.size(), 0);
  for (const nn::LowRank* pair : pairs) {
    const Tensor dropped = dropped_places(x, pair->term(pass, name_key_).dropout).to(pair->A_RI.scalar_type());
    const Tensor low = convolved(dropped, pair->A_RI, std::nullopt, moves);
    y = (y + convolved(low, pair->B_OR, pair->bias_O, {ones, zeros, ones}) * pair->scale).to(x.scalar_type());
  }
  return y;
}

void ConvolutionHost::add(std::unique_ptr<nn::Attachment> attachment) {
  const auto* const pair = dynamic_cast<const nn::LowRank*>(attachment.get());
  if (pair == nullptr) {
    config_error("adapter.target_modules", "only LoRA can be attached to '" + name() + "': found a module of kind " + kind());
  }
  if (pair->magnitude_O && pair->dropout > 0) {
    config_error("adapter.lora_dropout", "is not supported with use_dora at '" + name() + "', a " + kind() +
                                             " of a TorchScript model. Use lora_dropout 0, or leave out this target.");
  }
  MatrixHost::add(std::move(attachment));
}

}  // namespace lora::torchscript
