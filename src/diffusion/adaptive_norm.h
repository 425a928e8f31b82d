#pragma once
#include <ATen/core/Tensor.h>

namespace lora::diffusion {

using at::Tensor;

/// How a transformer's norm is changed by the timestep and the pooled text: norm(x) · (1 + scale) + shift, with a scale and a shift for
/// each image (Peebles, Xie: Scalable Diffusion Models with Transformers, 2023, section 3.2). The norm has no weights.
/// @param x_TC the rows of N images, one image after the other. @param scale_NC, shift_NC of each image.
Tensor modulated_norm(const Tensor& x_TC, const Tensor& scale_NC, const Tensor& shift_NC);

/// x_TC with each image's rows multiplied by its gate.
Tensor gated(const Tensor& x_TC, const Tensor& gate_NC);

}  // namespace lora::diffusion
