#pragma once

namespace lora::ops {

/// Opens the module of the program's own CUDA kernels (liblora_cuda.so, beside the program's other libraries), once; ops
/// then use it by themselves. Where it is missing or does not fit the devices, one line of the log says why and what that
/// costs, and ops keep to LibTorch's operations. To be called when CUDA is known to be there. Returns whether it is used.
bool open_cuda_kernels();

}  // namespace lora::ops
