#pragma once
#include <ATen/core/Tensor.h>

#include "optim/kernels.h"

namespace lora::optim {

/// The dynamic data type of Dettmers et al. 2021 (8-bit Optimizers via Block-wise Quantization), section 2.1 and 2.2: each
/// decade from 1 down to 1e-6 has half the values of the one above it, evenly spaced in it; and 0 and 1. Without sign, the
/// sign's bit goes to the spacing. Equal to bitsandbytes' create_dynamic_map, bit by bit.
const QuantizationMap& dynamic_map(bool is_signed);

// Block-wise quantisation by ATen's operators: what runs on other devices than the CPU, and the plain reference of the
// kernel. `codes` (uint8 [n]) and `absmax` (float32 [ceil(n / kQuantizationBlock)]) hold one moment.

/// float32 [n].
at::Tensor dequantize_blockwise(const at::Tensor& codes, const at::Tensor& absmax, const QuantizationMap& map);

/// Writes `values` (float32 [n]) into codes and absmax.
void quantize_blockwise(const at::Tensor& values, const QuantizationMap& map, const at::Tensor& codes, const at::Tensor& absmax);

}  // namespace lora::optim
