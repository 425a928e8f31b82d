#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace lora::ops {

using at::Tensor;

/// How a norm's weight is applied.
enum class NormWeight : int64_t {
  kPlain,    ///< w · x̂ with x̂ rounded to the dtype first (Llama and most others)
  kOnePlus,  ///< (1 + w) · x̂ in float32 or wider, then rounded (Gemma)
  kWide,     ///< w · x̂ in float32 or wider, then rounded (OLMo 2)
};

/// w · x / sqrt(mean(x²) + eps) for each row (Zhang & Sennrich 2019): the quotient is computed in float32 and rounded to x's dtype
/// before the weight, as in transformers' LlamaRMSNorm, or as `form` states. Keeps x and one number per row. The weight may be trained.
Tensor rms_norm(const Tensor& x_TD, const Tensor& weight_D, double eps, NormWeight form = NormWeight::kPlain);

/// The same as a composition of differentiable ATen operations.
Tensor rms_norm_reference(const Tensor& x_TD, const Tensor& weight_D, double eps, NormWeight form = NormWeight::kPlain);

}  // namespace lora::ops
