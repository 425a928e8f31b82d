#pragma once
#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include "peft/lora_init.h"

namespace lora::peft {

/// LoRA-GA's start of a module, in float32 after rounding to the weight's dtype.
/// @param gradient_OI float32. @param weight_OI the weight. @param first_size the first dimension of the weight in its file, which PEFT
/// takes for the number of outputs; that of Conv1D is the number of inputs.
LowRankStart lora_ga_start(const LoraGaOptions& options, const Tensor& gradient_OI, const Tensor& weight_OI, int64_t first_size,
                           const PairSize& size, at::Generator generator);

}  // namespace lora::peft
