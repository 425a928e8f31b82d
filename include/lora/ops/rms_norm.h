#pragma once
#include <ATen/core/Tensor.h>

namespace lora::ops {

using at::Tensor;

/// w · x / sqrt(mean(x²) + eps) of each row (Zhang & Sennrich 2019): the quotient in float32 and rounded to x's dtype
/// before the weight, as in transformers' LlamaRMSNorm. Keeps x and one number a row. The weight may be trained.
Tensor rms_norm(const Tensor& x_TD, const Tensor& weight_D, double eps);

/// The same as a composition of differentiable ATen operations.
Tensor rms_norm_reference(const Tensor& x_TD, const Tensor& weight_D, double eps);

}  // namespace lora::ops
