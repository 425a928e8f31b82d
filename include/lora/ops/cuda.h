#pragma once

namespace lora::ops {

/// Opens the module of the program's own CUDA kernels (liblora_cuda.so, next to the program's other libraries), once; ops then use it
/// automatically. If it is missing or does not support the devices, one log line gives the reason and the consequence, and ops use
/// LibTorch's operations. Call it only when CUDA is available. Returns whether the module is used.
bool open_cuda_kernels();

}  // namespace lora::ops
