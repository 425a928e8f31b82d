#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

namespace lora::optim {

/// L2 norm over all tensors together, summed in float64 in CPU memory and in float32 or wider elsewhere; in CPU memory it does not
/// depend on the number of threads. 0 for no tensors.
double norm_of(const std::vector<at::Tensor>& tensors);

}  // namespace lora::optim
