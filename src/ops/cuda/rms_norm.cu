// RMS norm, forward and backward: a team of threads per row, which reads its row twice (the second time from the cache).
// Formulas and layout: CudaRmsNorm, CudaRmsNormBackward.
#include "ops/cuda/device.cuh"

namespace lora::ops {
namespace device {
namespace {

constexpr int64_t kNormLanes = 512;

template <typename T, int N>
__global__ void rms_norm_kernel(CudaRmsNorm a) {
  const Team team = this_team();
  if (team.row >= a.rows) {
    return;  // a whole warp, see team_shape
  }
  const int64_t begin = team.row * a.dim;
  const T* x_row = static_cast<const T*>(a.x) + begin;
  float squares = 0;
  for (int64_t i = team.lane * N; i < a.dim; i += team.lanes * N) {
    const Pack<T, N> x = load<N>(x_row + i);
    for (int j = 0; j < N; ++j) {
      const float value = static_cast<float>(x.values[j]);
      squares += value * value;
    }
  }
  const float rstd = 1.0F / sqrtf(combined<Sum>(squares) / static_cast<float>(a.dim) + a.eps);
  if (team.lane == 0) {
    a.rstd[team.row] = rstd;
  }
  for (int64_t i = team.lane * N; i < a.dim; i += team.lanes * N) {
    const Pack<T, N> x = load<N>(x_row + i);
    const Pack<T, N> weight = load<N>(static_cast<const T*>(a.weight) + i);
    Pack<T, N> y;
    for (int j = 0; j < N; ++j) {
      const float normed = static_cast<float>(x.values[j]) * rstd;
      const float w = static_cast<float>(weight.values[j]);
      y.values[j] = static_cast<T>(a.one_plus ? normed * (1.0F + w) : w * rounded<T>(normed));
    }
    store<N>(static_cast<T*>(a.y) + begin + i, y);
  }
}

/// The gradient of x̂.
template <typename T>
__device__ __forceinline__ float normed_gradient(float dy, float weight, bool one_plus) {
  return one_plus ? dy * (1.0F + weight) : rounded<T>(dy * weight);
}

template <typename T, int N>
__global__ void rms_norm_backward_kernel(CudaRmsNormBackward a) {
  const Team team = this_team();
  if (team.row >= a.rows) {
    return;
  }
  const int64_t begin = team.row * a.dim;
  const T* x_row = static_cast<const T*>(a.x) + begin;
  const T* dy_row = static_cast<const T*>(a.dy) + begin;
  const float rstd = a.rstd[team.row];
  float products = 0;
  for (int64_t i = team.lane * N; i < a.dim; i += team.lanes * N) {
    const Pack<T, N> x = load<N>(x_row + i);
    const Pack<T, N> dy = load<N>(dy_row + i);
    const Pack<T, N> weight = load<N>(static_cast<const T*>(a.weight) + i);
    for (int j = 0; j < N; ++j) {
      products += normed_gradient<T>(static_cast<float>(dy.values[j]), static_cast<float>(weight.values[j]), a.one_plus) *
                  (static_cast<float>(x.values[j]) * rstd);
    }
  }
  const float mean = combined<Sum>(products) / static_cast<float>(a.dim);
  for (int64_t i = team.lane * N; i < a.dim; i += team.lanes * N) {
    const Pack<T, N> x = load<N>(x_row + i);
    const Pack<T, N> dy = load<N>(dy_row + i);
    const Pack<T, N> weight = load<N>(static_cast<const T*>(a.weight) + i);
    Pack<T, N> dx;
    for (int j = 0; j < N; ++j) {
      const float g = normed_gradient<T>(static_cast<float>(dy.values[j]), static_cast<float>(weight.values[j]), a.one_plus);
      dx.values[j] = static_cast<T>(rstd * (g - static_cast<float>(x.values[j]) * rstd * mean));
    }
    store<N>(static_cast<T*>(a.dx) + begin + i, dx);
  }
}

/// One thread per channel and part of the rows. Runs before dx is written, which may be dy.
template <typename T>
__global__ void rms_norm_dweight_kernel(CudaRmsNormBackward a) {
  const int64_t channel = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (channel >= a.dim) {
    return;
  }
  float sum = 0;
  for (int64_t row = blockIdx.y; row < a.rows; row += a.parts) {
    const int64_t at = row * a.dim + channel;
    const float normed = static_cast<float>(static_cast<const T*>(a.x)[at]) * a.rstd[row];
    sum += static_cast<float>(static_cast<const T*>(a.dy)[at]) * (a.one_plus ? normed : rounded<T>(normed));
  }
  a.dweight_parts[blockIdx.y * a.dim + channel] = sum;
}

template <typename T>
cudaError_t launch_dweight(const CudaPlace& place, const CudaRmsNormBackward& a) {
  constexpr unsigned kThreads = 128;
  const dim3 grid(static_cast<unsigned>(divided_up(a.dim, kThreads)), static_cast<unsigned>(a.parts));
  return launch(rms_norm_dweight_kernel<T>, Shape{grid, dim3(kThreads)}, place, a);
}

}  // namespace
}  // namespace device

extern "C" int32_t lora_cuda_rms_norm(const CudaPlace* place, const CudaRmsNorm* arguments) {
  const CudaRmsNorm& a = *arguments;
  if (a.rows == 0) {
    return cudaSuccess;
  }
  return device::dispatch(a.dtype, {a.x, a.weight, a.y}, {a.dim}, [&]<typename T, int N>() {
    return device::launch(device::rms_norm_kernel<T, N>, device::team_shape(a.rows, a.dim / N, device::kNormLanes), *place, a);
  });
}

extern "C" int32_t lora_cuda_rms_norm_backward(const CudaPlace* place, const CudaRmsNormBackward* arguments) {
  const CudaRmsNormBackward& a = *arguments;
  if (a.rows == 0) {
    return cudaSuccess;
  }
  return device::dispatch(a.dtype, {a.x, a.weight, a.dy, a.dx}, {a.dim}, [&]<typename T, int N>() {
    const cudaError_t status = a.dweight_parts == nullptr ? cudaSuccess : device::launch_dweight<T>(*place, a);
    if (status != cudaSuccess) {
      return status;
    }
    return device::launch(device::rms_norm_backward_kernel<T, N>, device::team_shape(a.rows, a.dim / N, device::kNormLanes), *place, a);
  });
}

}  // namespace lora::ops
