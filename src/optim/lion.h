#pragma once
#include <vector>

#include "optim/groups.h"
#include "optim/kernels.h"
#include "optim/stored_moment.h"

namespace lora::optim {

// The update by ATen's operators: used on devices other than the CPU, and the plain reference of the kernels.

/// All parameters at once, with moments in their dtype.
/// @param exp_avgs of the parameters of `updates`, in the same order
void lion_foreach(const Updates& updates, const std::vector<at::Tensor>& exp_avgs, const LionFactors& factors);

/// One parameter, with its moment in float32 or in 8 bits.
/// @param gradient in the parameter's memory order
void lion_by_operators(const at::Tensor& parameter, const StoredMoment& exp_avg, const at::Tensor& gradient, const LionFactors& factors);

}  // namespace lora::optim
