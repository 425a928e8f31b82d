// act(gate) · up, forward and backward: elementwise, one thread per pack. Formulas and layout: CudaGated, CudaGatedBackward.
#include "ops/cuda/device.cuh"

namespace lora::ops {
namespace device {
namespace {

constexpr float kInverseSqrt2 = 0.707106781186547524F;
constexpr float kInverseSqrt2Pi = 0.398942280401432678F;
/// Constants of the tanh form of GELU (Hendrycks & Gimpel 2016): tanh(kTanhScale · (x + kTanhCubic · x³)).
constexpr float kTanhScale = 0.797884560802865356F;
constexpr float kTanhCubic = 0.044715F;

/// An activation and its derivative.
struct Activated {
  float value, slope;
};

__device__ __forceinline__ Activated silu(float x) {
  const float sigmoid = 1.0F / (1.0F + expf(-x));
  return {x / (1.0F + expf(-x)), sigmoid * (1.0F + x * (1.0F - sigmoid))};
}

__device__ __forceinline__ Activated gelu_tanh(float x) {
  const float inner = tanhf(kTanhScale * (x + kTanhCubic * x * x * x));
  const float inner_slope = (1.0F - inner * inner) * kTanhScale * (1.0F + 3.0F * kTanhCubic * x * x);
  return {0.5F * x * (1.0F + inner), 0.5F * (1.0F + inner) + 0.5F * x * inner_slope};
}

__device__ __forceinline__ Activated gelu(float x) {
  const float cdf = 0.5F * (1.0F + erff(x * kInverseSqrt2));
  return {x * cdf, cdf + x * (kInverseSqrt2Pi * expf(-0.5F * x * x))};
}

__device__ __forceinline__ Activated activated(Activation kind, float x) {
  switch (kind) {
    case Activation::kGeluTanh:
      return gelu_tanh(x);
    case Activation::kGelu:
      return gelu(x);
    case Activation::kRelu:
      return {x > 0.0F ? x : 0.0F, x > 0.0F ? 1.0F : 0.0F};
    case Activation::kReluSquared:
      return {x > 0.0F ? x * x : 0.0F, x > 0.0F ? 2.0F * x : 0.0F};
    case Activation::kSilu:
      break;
  }
  return silu(x);
}

template <typename T, int N>
__global__ void gated_kernel(CudaGated a) {
  const int64_t row = blockIdx.x;
  const int64_t column = column_pack() * N;
  if (column >= a.columns) {
    return;
  }
  const Pack<T, N> gate = load<N>(static_cast<const T*>(a.gate) + row * a.gate_stride + column);
  const Pack<T, N> up = load<N>(static_cast<const T*>(a.up) + row * a.up_stride + column);
  Pack<T, N> product;
  for (int j = 0; j < N; ++j) {
    const float value = activated(a.kind, static_cast<float>(gate.values[j])).value;
    product.values[j] = static_cast<T>(rounded<T>(value) * static_cast<float>(up.values[j]));
  }
  store<N>(static_cast<T*>(a.product) + row * a.columns + column, product);
}

template <typename T, int N>
__global__ void gated_backward_kernel(CudaGatedBackward a) {
  const int64_t row = blockIdx.x;
  const int64_t column = column_pack() * N;
  if (column >= a.columns) {
    return;
  }
  const Pack<T, N> gate = load<N>(static_cast<const T*>(a.gate) + row * a.gate_stride + column);
  const Pack<T, N> up = load<N>(static_cast<const T*>(a.up) + row * a.up_stride + column);
  const Pack<T, N> dproduct = load<N>(static_cast<const T*>(a.dproduct) + row * a.columns + column);
  Pack<T, N> dgate, dup;
  for (int j = 0; j < N; ++j) {
    const Activated act = activated(a.kind, static_cast<float>(gate.values[j]));
    const float d = static_cast<float>(dproduct.values[j]);
    dgate.values[j] = static_cast<T>(rounded<T>(d * static_cast<float>(up.values[j])) * act.slope);
    dup.values[j] = static_cast<T>(d * rounded<T>(act.value));
  }
  store<N>(static_cast<T*>(a.dgate) + row * a.columns + column, dgate);
  store<N>(static_cast<T*>(a.dup) + row * a.columns + column, dup);
}

}  // namespace
}  // namespace device

extern "C" int32_t lora_cuda_gated(const CudaPlace* place, const CudaGated* arguments) {
  const CudaGated& a = *arguments;
  if (a.rows == 0 || a.columns == 0) {
    return cudaSuccess;
  }
  return device::dispatch(a.dtype, {a.gate, a.up, a.product}, {a.columns, a.gate_stride, a.up_stride}, [&]<typename T, int N>() {
    return device::launch(device::gated_kernel<T, N>, device::column_shape(a.rows, a.columns / N), *place, a);
  });
}

extern "C" int32_t lora_cuda_gated_backward(const CudaPlace* place, const CudaGatedBackward* arguments) {
  const CudaGatedBackward& a = *arguments;
  if (a.rows == 0 || a.columns == 0) {
    return cudaSuccess;
  }
  return device::dispatch(
      a.dtype, {a.gate, a.up, a.dproduct, a.dgate, a.dup}, {a.columns, a.gate_stride, a.up_stride}, [&]<typename T, int N>() {
        return device::launch(device::gated_backward_kernel<T, N>, device::column_shape(a.rows, a.columns / N), *place, a);
      });
}

}  // namespace lora::ops
