#pragma once
#include <vector>

#include "optim/groups.h"
#include "optim/kernels.h"

namespace lora::optim {

/// The update by ATen's operators on lists: used on devices other than the CPU, and the plain reference of the kernel.
/// @param exp_avgs of the parameters of `updates`, in the same order
void lion_foreach(const Updates& updates, const std::vector<at::Tensor>& exp_avgs, const LionFactors& factors);

}  // namespace lora::optim
