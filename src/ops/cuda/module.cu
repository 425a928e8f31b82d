// The module's version and its support for the machine's devices.
#include <cuda_runtime.h>

#include "ops/cuda/interface.h"

namespace lora::ops {

extern "C" int32_t lora_cuda_interface_version() {
  return kCudaInterfaceVersion;
}

extern "C" int32_t lora_cuda_check_devices() {
  constexpr int kOldestMajor = 8;  // src/ops/cuda/CMakeLists.txt: machine code and PTX for 8.0 and later
  int count = 0;
  cudaError_t status = cudaGetDeviceCount(&count);
  for (int device = 0; device < count && status == cudaSuccess; ++device) {
    int major = 0;
    status = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
    if (status == cudaSuccess && major < kOldestMajor) {
      status = cudaErrorNoKernelImageForDevice;
    }
  }
  return status;
}

extern "C" const char* lora_cuda_error_text(int32_t error) {
  return cudaGetErrorString(static_cast<cudaError_t>(error));
}

}  // namespace lora::ops
