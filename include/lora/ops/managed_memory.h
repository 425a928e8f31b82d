#pragma once
#include <ATen/core/Tensor.h>

namespace lora::ops {

/// Zeros of this dtype, with the shape, the memory order and the CUDA device of `like`, in memory that CUDA's driver moves between the
/// device and the host (cudaMallocManaged): to the host when the device's memory is full, and back where a kernel uses it.
/// Throws config Error if the program's CUDA module cannot be used or the driver refuses.
at::Tensor managed_zeros_like(const at::Tensor& like, at::ScalarType type);

}  // namespace lora::ops
