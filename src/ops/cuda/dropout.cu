// Dropout by the counter-based generator, the same bits as ops::dropout on the CPU. Formula and layout: CudaDropout.
#include "lora/base/random.h"
#include "ops/cuda/device.cuh"

namespace lora::ops {
namespace device {
namespace {

template <typename T>
__device__ __forceinline__ T kept_or_zero(const CudaDropout& a, T x, uint64_t bits) {
  return static_cast<T>(static_cast<uint32_t>(bits) < a.threshold ? 0.0F : static_cast<float>(x) * a.keep_scale);
}

/// One thread per pack, or per pair of channels if N is 1: both come from one hash.
template <typename T, int N>
__global__ void dropout_kernel(CudaDropout a) {
  constexpr int kChannels = N == 1 ? 2 : N;
  const int64_t t = blockIdx.x;
  const int64_t channel = column_pack() * kChannels;
  if (channel >= a.channels) {
    return;
  }
  const uint64_t row = mix64(static_cast<uint64_t>(a.row_keys[t]) ^ a.site_key) + static_cast<uint64_t>(channel / 2);
  const T* x = static_cast<const T*>(a.x) + t * a.channels + channel;
  T* y = static_cast<T*>(a.y) + t * a.channels + channel;
  if constexpr (N == 1) {
    const uint64_t bits = mix64(row);
    y[0] = kept_or_zero(a, x[0], bits);
    if (channel + 1 < a.channels) {
      y[1] = kept_or_zero(a, x[1], bits >> 32);
    }
  } else {
    Pack<T, N> pack = load<N>(x);
    for (int j = 0; j < N; j += 2) {
      const uint64_t bits = mix64(row + static_cast<uint64_t>(j / 2));
      pack.values[j] = kept_or_zero(a, pack.values[j], bits);
      pack.values[j + 1] = kept_or_zero(a, pack.values[j + 1], bits >> 32);
    }
    store<N>(y, pack);
  }
}

}  // namespace
}  // namespace device

extern "C" int32_t lora_cuda_dropout(const CudaPlace* place, const CudaDropout* arguments) {
  const CudaDropout& a = *arguments;
  if (a.rows == 0 || a.channels == 0) {
    return cudaSuccess;
  }
  return device::dispatch(a.dtype, {a.x, a.y}, {a.channels}, [&]<typename T, int N>() {
    const int64_t packs = device::divided_up(a.channels, N == 1 ? 2 : N);
    return device::launch(device::dropout_kernel<T, N>, device::column_shape(a.rows, packs), *place, a);
  });
}

}  // namespace lora::ops
