// Rotary embedding of queries and keys in one launch, in place: one block per token, one thread per pair of packs at the same position
// in a head's two halves. Formulas and layout: CudaRope.
#include "ops/cuda/device.cuh"

namespace lora::ops {
namespace device {
namespace {

constexpr int64_t kRopeThreads = 256;

/// Packs of the rotated half, over all heads of a token.
__host__ __device__ inline int64_t packs_per_token(const CudaRope& a, int n) {
  return (a.q_heads + a.k_heads) * (a.rotary / 2 / n);
}

/// Both halves at one position, rotated: forward by the angle, backward by the transpose.
template <typename T, int N>
__device__ __forceinline__ void turn(const CudaRope& a, T* low_at, const T* cos_at, const T* sin_at) {
  const int64_t half = a.rotary / 2;
  Pack<T, N> low = load<N>(low_at);
  Pack<T, N> high = load<N>(low_at + half);
  const Pack<T, N> cos_low = load<N>(cos_at);
  const Pack<T, N> cos_high = load<N>(cos_at + half);
  const Pack<T, N> sin_low = load<N>(sin_at);
  const Pack<T, N> sin_high = load<N>(sin_at + half);
  for (int j = 0; j < N; ++j) {
    const float x = static_cast<float>(low.values[j]);
    const float y = static_cast<float>(high.values[j]);
    // In forward an element uses its partner's value and its own sine; in backward, both of its partner.
    const float own_sin = static_cast<float>(sin_low.values[j]);
    const float other_sin = static_cast<float>(sin_high.values[j]);
    const float from_high = a.backward ? rounded<T>(y * other_sin) : -rounded<T>(y * own_sin);
    const float from_low = a.backward ? -rounded<T>(x * own_sin) : rounded<T>(x * other_sin);
    low.values[j] = static_cast<T>(rounded<T>(x * static_cast<float>(cos_low.values[j])) + from_high);
    high.values[j] = static_cast<T>(rounded<T>(y * static_cast<float>(cos_high.values[j])) + from_low);
  }
  store<N>(low_at, low);
  store<N>(low_at + half, high);
}

template <typename T, int N>
__global__ void rope_kernel(CudaRope a) {
  const int64_t token = blockIdx.x;
  const int64_t packs_per_head = a.rotary / 2 / N;
  const int64_t packs = packs_per_token(a, N);
  const T* cos_row = static_cast<const T*>(a.cos) + token * a.rotary;
  const T* sin_row = static_cast<const T*>(a.sin) + token * a.rotary;
  for (int64_t p = threadIdx.x; p < packs; p += blockDim.x) {
    const int64_t head = p / packs_per_head;
    const int64_t channel = p % packs_per_head * N;
    T* row = head < a.q_heads ? static_cast<T*>(a.q) + token * a.q_stride + head * a.head_dim
                              : static_cast<T*>(a.k) + token * a.k_stride + (head - a.q_heads) * a.head_dim;
    turn<T, N>(a, row + channel, cos_row + channel, sin_row + channel);
  }
}

}  // namespace
}  // namespace device

extern "C" int32_t lora_cuda_rope(const CudaPlace* place, const CudaRope* arguments) {
  const CudaRope& a = *arguments;
  if (a.tokens == 0 || a.q_heads + a.k_heads == 0 || a.rotary == 0) {
    return cudaSuccess;
  }
  return device::dispatch(a.dtype, {a.q, a.k, a.cos, a.sin}, {a.rotary / 2, a.head_dim, a.q_stride, a.k_stride}, [&]<typename T, int N>() {
    const int64_t warps = device::divided_up(device::packs_per_token(a, N), device::kWarp);
    const dim3 block(static_cast<unsigned>(std::min(device::kRopeThreads, warps * device::kWarp)));
    return device::launch(device::rope_kernel<T, N>, device::Shape{dim3(static_cast<unsigned>(a.tokens)), block}, *place, a);
  });
}

}  // namespace lora::ops
