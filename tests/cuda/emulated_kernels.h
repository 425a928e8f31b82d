#pragma once
#include "ops/cuda_module.h"

namespace lora::test {

/// The kernels of src/ops/cuda compiled for the CPU (emulation.h); they take tensors of the CPU.
ops::CudaKernels emulated_kernels();

}  // namespace lora::test
