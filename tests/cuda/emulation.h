#pragma once
/// CUDA's keywords for the CPU: after this header, a .cu file of src/ops/cuda is plain C++, and launch() runs its kernels here, block
/// after block. A block's threads are coroutines, so that barriers and shuffles between them work; a barrier that some threads never
/// reach ends the program. One block's threads run in ascending order, the next one's in descending order, because nothing may depend
/// on the order.
#include <ATen/core/Tensor.h>

#include <cmath>
#include <cstdint>

#include "ops/cuda/interface.h"

// NOLINTBEGIN(bugprone-reserved-identifier): the names are CUDA's
#define __global__
#define __host__
#define __device__
#define __forceinline__ inline
#define __shared__ static  // blocks run one after another
#define __launch_bounds__(threads)
#define __grid_constant__
using __half = at::Half;
using __nv_bfloat16 = at::BFloat16;

enum cudaError_t : int32_t { cudaSuccess = 0, cudaErrorInvalidValue = 1 };

struct dim3 {
  explicit dim3(unsigned x_size = 1, unsigned y_size = 1, unsigned z_size = 1) : x(x_size), y(y_size), z(z_size) {}
  unsigned x, y, z;
};

namespace lora::emulation {

/// Of the current thread.
struct Coordinates {
  dim3 grid, block, block_index, thread_index;
};
extern Coordinates current;

/// All threads of the block wait for each other.
void block_barrier();
/// The value of the thread whose number within the warp differs by this mask.
float warp_exchange(float value, int mask);
/// Runs body() in every thread of every block.
void run(dim3 grid, dim3 block, void (*body)(const void*), const void* arguments);

}  // namespace lora::emulation

#define gridDim lora::emulation::current.grid
#define blockDim lora::emulation::current.block
#define blockIdx lora::emulation::current.block_index
#define threadIdx lora::emulation::current.thread_index

inline void __syncthreads() {
  lora::emulation::block_barrier();
}
inline float __shfl_xor_sync(unsigned, float value, int mask) {
  return lora::emulation::warp_exchange(value, mask);
}
// NOLINTEND(bugprone-reserved-identifier)

namespace lora::ops::device {

/// launch() of device.cuh. The kernel is called through a function of its own type, as a coroutine takes no arguments.
template <typename Arguments, typename LaunchShape>
cudaError_t launch(void (*kernel)(Arguments), const LaunchShape& shape, const CudaPlace&, const Arguments& arguments) {
  struct Call {
    void (*kernel)(Arguments);
    const Arguments& arguments;
  };
  const Call call{kernel, arguments};
  emulation::run(
      shape.grid, shape.block,
      [](const void* from) {
        const Call& made = *static_cast<const Call*>(from);
        made.kernel(made.arguments);
      },
      &call);
  return cudaSuccess;
}

}  // namespace lora::ops::device
