#pragma once
#include <ATen/core/Tensor.h>

#include "optim/kernels.h"

namespace lora::optim {

/// The dynamic data type of Dettmers et al. 2021 (8-bit Optimizers via Block-wise Quantization), sections 2.1 and 2.2: each decade from
/// 1 down to 1e-6 has half as many values as the one above it, evenly spaced; and there are 0 and 1. Without a sign, its bit doubles
/// the number of values. Equal to bitsandbytes' create_dynamic_map, bit by bit.
const QuantizationMap& dynamic_map(bool is_signed);

// Block-wise quantisation by ATen's operators: used on devices other than the CPU, and the plain reference of the kernel.
// `codes` (uint8 [n]) and `absmax` (float32 [ceil(n / kQuantizationBlock)]) hold one moment.

/// float32 [n].
at::Tensor dequantize_blockwise(const at::Tensor& codes, const at::Tensor& absmax, const QuantizationMap& map);

/// Writes `values` (float32 [n]) into codes and absmax.
void quantize_blockwise(const at::Tensor& values, const QuantizationMap& map, const at::Tensor& codes, const at::Tensor& absmax);

}  // namespace lora::optim
