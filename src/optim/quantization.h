#pragma once
#include <ATen/core/Tensor.h>

#include "optim/kernels.h"

namespace lora::optim {

// Block-wise quantisation by ATen's operators: used on devices other than the CPU, and the plain reference of the kernel.
// `codes` (uint8 [n]) and `absmax` (float32 [ceil(n / kQuantizationBlock)]) hold one moment.

/// float32 [n].
at::Tensor dequantize_blockwise(const at::Tensor& codes, const at::Tensor& absmax, const QuantizationMap& map);

/// Writes `values` (float32 [n]) into codes and absmax.
void quantize_blockwise(const at::Tensor& values, const QuantizationMap& map, const at::Tensor& codes, const at::Tensor& absmax);

}  // namespace lora::optim
