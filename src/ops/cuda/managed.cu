// Memory that the driver moves between device and host.
#include <algorithm>

#include "ops/cuda/device.cuh"

namespace lora::ops {

extern "C" int32_t lora_cuda_allocate_managed(const CudaPlace* place, int64_t bytes, void** memory) {
  const device::DeviceScope scope(place->device);
  if (scope.status() != cudaSuccess) {
    return scope.status();
  }
  const cudaError_t status = cudaMallocManaged(memory, static_cast<size_t>(std::max<int64_t>(bytes, 1)));
  if (status != cudaSuccess) {
    cudaGetLastError();  // an allocation that was refused is reported here, not by the next launch
    return status;
  }
  const cudaError_t filled = cudaMemsetAsync(*memory, 0, static_cast<size_t>(bytes), static_cast<cudaStream_t>(place->stream));
  if (filled != cudaSuccess) {
    cudaFree(*memory);
    *memory = nullptr;
  }
  return filled;
}

extern "C" int32_t lora_cuda_free_managed(const CudaPlace* place, void* memory) {
  const device::DeviceScope scope(place->device);
  return scope.status() != cudaSuccess ? scope.status() : cudaFree(memory);
}

}  // namespace lora::ops
