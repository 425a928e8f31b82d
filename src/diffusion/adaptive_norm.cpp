// T rows of N images, L rows of each, C channels.
#include "diffusion/adaptive_norm.h"

#include <ATen/ATen.h>

#include "lora/ops/layer_norm.h"

namespace lora::diffusion {

namespace {

constexpr double kAdaptiveNormEps = 1e-6;

Tensor by_image(const Tensor& x_TC, int64_t images) {
  return x_TC.view({images, -1, x_TC.size(1)});
}

}  // namespace

Tensor modulated_norm(const Tensor& x_TC, const Tensor& scale_NC, const Tensor& shift_NC) {
  const Tensor normed_NLC = by_image(ops::layer_norm(x_TC, std::nullopt, std::nullopt, kAdaptiveNormEps), scale_NC.size(0));
  return (normed_NLC * (1 + scale_NC).unsqueeze(1) + shift_NC.unsqueeze(1)).view(x_TC.sizes());
}

Tensor gated(const Tensor& x_TC, const Tensor& gate_NC) {
  return (gate_NC.unsqueeze(1) * by_image(x_TC, gate_NC.size(0))).view(x_TC.sizes());
}

}  // namespace lora::diffusion
