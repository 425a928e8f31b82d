// The building blocks of the kernels in this folder: packs of elements, launching, sums over a row's threads.
// nvcc compiles the kernels for the device. tests/cuda compiles the same files as plain C++ for the CPU, with CUDA's keywords
// (__global__, threadIdx, __syncthreads …) and launch() defined by tests/cuda/emulation.h.
#pragma once
#ifdef __CUDACC__
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#endif

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <initializer_list>

#include "ops/cuda/interface.h"

namespace lora::ops::device {

constexpr int kWarp = 32;
constexpr unsigned kWholeWarp = 0xffffffffU;
/// The most bytes that one load or store moves.
constexpr int kPackBytes = 16;

/// N neighbouring elements, moved by one instruction.
template <typename T, int N>
struct alignas(sizeof(T) * N) Pack {
  T values[N];
};

template <int N, typename T>
__device__ __forceinline__ Pack<T, N> load(const T* from) {
  return *reinterpret_cast<const Pack<T, N>*>(from);
}

template <int N, typename T>
__device__ __forceinline__ void store(T* to, const Pack<T, N>& pack) {
  *reinterpret_cast<Pack<T, N>*>(to) = pack;
}

/// A float32 value rounded to the dtype.
template <typename T>
__device__ __forceinline__ float rounded(float value) {
  return static_cast<float>(static_cast<T>(value));
}

/// The threads that share a row: thread `lane` of `lanes`.
struct Team {
  int64_t row;
  int lane, lanes;
};

__device__ __forceinline__ Team this_team() {
  return {static_cast<int64_t>(blockIdx.x) * blockDim.y + threadIdx.y, static_cast<int>(threadIdx.x), static_cast<int>(blockDim.x)};
}

struct Sum {
  static __device__ __forceinline__ float apply(float a, float b) { return a + b; }
  static constexpr float kNone = 0.0F;
};

struct Maximum {
  static __device__ __forceinline__ float apply(float a, float b) { return fmaxf(a, b); }
  static constexpr float kNone = -INFINITY;
};

template <typename Operation>
__device__ __forceinline__ float combined_in_warp(float value) {
  for (int distance = kWarp / 2; distance > 0; distance /= 2) {
    value = Operation::apply(value, __shfl_xor_sync(kWholeWarp, value, distance));
  }
  return value;
}

/// The combined values of a team, with the same bits in each of its threads and in every run. All threads of the team call it.
template <typename Operation>
__device__ __forceinline__ float combined(float value) {
  value = combined_in_warp<Operation>(value);
  if (blockDim.x == kWarp) {
    return value;  // a team is one warp, independent of the others in the block
  }
  __shared__ float parts[kWarp];
  const int warp = threadIdx.x / kWarp;
  const int lane = threadIdx.x % kWarp;
  __syncthreads();  // parts may still be read for the previous call
  if (lane == 0) {
    parts[warp] = value;
  }
  __syncthreads();
  return combined_in_warp<Operation>(lane < static_cast<int>(blockDim.x) / kWarp ? parts[lane] : Operation::kNone);
}

struct Shape {
  dim3 grid, block;
};

inline int64_t divided_up(int64_t value, int64_t by) {
  return (value + by - 1) / by;
}

/// One team per row, for rows of `packs` packs: one warp each and four teams per block if rows are short, otherwise one block each.
inline Shape team_shape(int64_t rows, int64_t packs, int64_t most_lanes) {
  constexpr int64_t kRowsPerBlock = 4;
  if (packs <= kWarp) {
    return {dim3(static_cast<unsigned>(divided_up(rows, kRowsPerBlock))), dim3(kWarp, kRowsPerBlock)};
  }
  const int64_t lanes = std::min(most_lanes, divided_up(packs, kWarp) * kWarp);
  return {dim3(static_cast<unsigned>(rows)), dim3(static_cast<unsigned>(lanes))};
}

/// One thread per pack, for elementwise work on rows: row blockIdx.x, pack column_pack().
inline Shape column_shape(int64_t rows, int64_t packs) {
  constexpr int64_t kMostThreads = 256;
  const int64_t threads = std::min(kMostThreads, divided_up(packs, kWarp) * kWarp);
  return {dim3(static_cast<unsigned>(rows), static_cast<unsigned>(divided_up(packs, threads))), dim3(static_cast<unsigned>(threads))};
}

__device__ __forceinline__ int64_t column_pack() {
  return static_cast<int64_t>(blockIdx.y) * blockDim.x + threadIdx.x;
}

/// Whether packs of n may be used: every pointer (null: not used) is aligned to them, and every size is a multiple.
template <typename T>
bool in_packs(int64_t n, std::initializer_list<const void*> pointers, std::initializer_list<int64_t> sizes) {
  return std::all_of(pointers.begin(), pointers.end(),
                     [n](const void* p) { return reinterpret_cast<uintptr_t>(p) % (sizeof(T) * static_cast<size_t>(n)) == 0; }) &&
         std::all_of(sizes.begin(), sizes.end(), [n](int64_t size) { return size % n == 0; });
}

/// Calls function.operator()<T, N>() with the dtype's type and the widest pack that the memory layout allows, or 1.
template <typename Function>
cudaError_t dispatch(CudaDtype dtype, std::initializer_list<const void*> pointers, std::initializer_list<int64_t> sizes,
                     const Function& function) {
  const auto with_type = [&]<typename T>() {
    constexpr int kWide = kPackBytes / static_cast<int>(sizeof(T));
    return in_packs<T>(kWide, pointers, sizes) ? function.template operator()<T, kWide>() : function.template operator()<T, 1>();
  };
  switch (dtype) {
    case CudaDtype::kFloat32:
      return with_type.template operator()<float>();
    case CudaDtype::kBFloat16:
      return with_type.template operator()<__nv_bfloat16>();
    case CudaDtype::kFloat16:
      return with_type.template operator()<__half>();
  }
  return cudaErrorInvalidValue;
}

#ifdef __CUDACC__
/// Makes the device of a launch current for this thread while the object lives. The module has its own CUDA runtime in addition to
/// LibTorch's; both work in the device's primary context.
class DeviceScope {
 public:
  explicit DeviceScope(int device) {
    status_ = cudaGetDevice(&before_);
    if (status_ == cudaSuccess && before_ != device) {
      status_ = cudaSetDevice(device);
      changed_ = status_ == cudaSuccess;
    }
  }
  ~DeviceScope() {
    if (changed_) {
      cudaSetDevice(before_);
    }
  }
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;
  cudaError_t status() const { return status_; }

 private:
  int before_ = 0;
  bool changed_ = false;
  cudaError_t status_ = cudaSuccess;
};

/// Launches kernel(arguments) on the stream of `place`.
template <typename Arguments>
cudaError_t launch(void (*kernel)(Arguments), const Shape& shape, const CudaPlace& place, const Arguments& arguments) {
  const DeviceScope scope(place.device);
  if (scope.status() != cudaSuccess) {
    return scope.status();
  }
  kernel<<<shape.grid, shape.block, 0, static_cast<cudaStream_t>(place.stream)>>>(arguments);
  return cudaGetLastError();
}
#endif

}  // namespace lora::ops::device
