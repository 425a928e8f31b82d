// Softmax cross-entropy and its gradient with respect to the logits, one team of threads per row: one pass for maximum and sum together
// (Milakov & Gimelshein 2018, "Online normalizer calculation for softmax", algorithm 3), and one that writes.
// Formulas and layout: CudaCrossEntropy.
#include "ops/cuda/device.cuh"

namespace lora::ops {
namespace device {
namespace {

constexpr int64_t kLogitLanes = 1024;

/// exp(value - top), also where both are -inf.
__device__ __forceinline__ float exp_below(float value, float top) {
  return value == -INFINITY ? 0.0F : expf(value - top);
}

/// Σ exp(logit - top) over the logits read so far. A NaN among them makes the sum NaN.
struct SoftmaxSum {
  float top = -INFINITY;
  float sum = 0;

  template <typename T, int N>
  __device__ __forceinline__ void add(const Pack<T, N>& logits) {
    float highest = top;
    for (int j = 0; j < N; ++j) {
      highest = fmaxf(highest, static_cast<float>(logits.values[j]));
    }
    sum *= exp_below(top, highest);
    top = highest;
    for (int j = 0; j < N; ++j) {
      sum += exp_below(static_cast<float>(logits.values[j]), top);
    }
  }
};

template <typename T, int N>
__device__ __forceinline__ void write_zeros(const Team& team, T* row, int64_t vocab) {
  Pack<T, N> zeros;
  for (int j = 0; j < N; ++j) {
    zeros.values[j] = static_cast<T>(0.0F);
  }
  for (int64_t i = team.lane * N; i < vocab; i += team.lanes * N) {
    store<N>(row + i, zeros);
  }
}

template <typename T, int N>
__global__ void __launch_bounds__(kLogitLanes) cross_entropy_kernel(CudaCrossEntropy a) {
  const Team team = this_team();
  if (team.row >= a.rows) {
    return;
  }
  T* row = static_cast<T*>(a.logits) + team.row * a.vocab;
  const int64_t label = a.labels[team.row];
  if (team.lane == 0 && (label < 0 || label >= a.vocab)) {
    a.losses[team.row] = label < 0 ? 0.0F : NAN;
  }
  if (label < 0) {
    write_zeros<T, N>(team, row, a.vocab);
    return;  // the whole team
  }
  SoftmaxSum seen;
  float of_label = 0;
  for (int64_t i = team.lane * N; i < a.vocab; i += team.lanes * N) {
    const Pack<T, N> logits = load<N>(row + i);
    seen.add(logits);
    for (int j = 0; j < N; ++j) {
      of_label = i + j == label ? static_cast<float>(logits.values[j]) : of_label;
    }
  }
  const float top = combined<Maximum>(seen.top);
  const float sum = combined<Sum>(seen.sum * exp_below(seen.top, top));
  const float inverse = 1.0F / sum;
  for (int64_t i = team.lane * N; i < a.vocab; i += team.lanes * N) {
    Pack<T, N> logits = load<N>(row + i);
    for (int j = 0; j < N; ++j) {
      const float probability = expf(static_cast<float>(logits.values[j]) - top) * inverse;
      const bool is_label = i + j == label;
      if (is_label) {
        a.losses[team.row] = top - of_label + logf(sum);
      }
      logits.values[j] = static_cast<T>((probability - (is_label ? 1.0F : 0.0F)) * a.scale);
    }
    store<N>(row + i, logits);
  }
}

}  // namespace
}  // namespace device

extern "C" int32_t lora_cuda_cross_entropy(const CudaPlace* place, const CudaCrossEntropy* arguments) {
  const CudaCrossEntropy& a = *arguments;
  if (a.rows == 0) {
    return cudaSuccess;
  }
  return device::dispatch(a.dtype, {a.logits}, {a.vocab}, [&]<typename T, int N>() {
    return device::launch(device::cross_entropy_kernel<T, N>, device::team_shape(a.rows, a.vocab / N, device::kLogitLanes), *place, a);
  });
}

}  // namespace lora::ops
