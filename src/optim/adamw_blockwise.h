#pragma once
#include <ATen/core/Tensor.h>

#include "optim/kernels.h"
#include "optim/stored_moment.h"

namespace lora::optim {

/// The state of a parameter in bitsandbytes' AdamW.
struct AdamWSlot {
  StoredMoment exp_avg;
  StoredMoment exp_avg_sq;
  at::Tensor step;  ///< updates so far: float32 scalar in CPU memory
};

/// @param format kFloat32 or k8bit
AdamWSlot make_adamw_slot(StateMemory& memory, const at::Tensor& parameter, MomentFormat format);

/// The update by ATen's operators: used on devices other than the CPU, and the plain reference of the kernel.
/// @param gradient in the parameter's memory order
void adamw_by_operators(const at::Tensor& parameter, const AdamWSlot& slot, const at::Tensor& gradient, const AdamWFactors& factors);

}  // namespace lora::optim
