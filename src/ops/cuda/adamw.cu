// AdamW on many tensors a launch. Formula: CudaAdamw. The arguments of a launch carry the pointers of a group of tensors;
// blockIdx.y is the tensor, and its blocks take its elements in turn.
#include "ops/cuda/device.cuh"

namespace lora::ops {
namespace device {
namespace {

/// Tensors of one launch: their pointers must fit the 4 KB that a kernel's arguments may have.
constexpr int kGroup = 64;
constexpr int64_t kAdamwThreads = 256;
/// Enough to fill a device, also where one tensor is large.
constexpr int64_t kMostBlocks = 512;

struct AdamwGroup {
  double learning_rate, beta1, beta2;
  float one_minus_decay, epsilon;
  const float* clip_factor;
  CudaAdamwTensor tensors[kGroup];
};
static_assert(sizeof(AdamwGroup) <= 4096);

/// What depends on the step of a tensor alone.
struct StepFactors {
  float size, inverse_root;
};

/// In float64, as torch: 1 - beta^step loses most of its digits in float32.
__device__ __forceinline__ StepFactors step_factors(const AdamwGroup& group, float step) {
  const double correction1 = 1.0 - pow(group.beta1, static_cast<double>(step));
  const double correction2 = 1.0 - pow(group.beta2, static_cast<double>(step));
  return {static_cast<float>(group.learning_rate / correction1), static_cast<float>(sqrt(correction2))};
}

template <typename T>
__global__ void adamw_kernel(AdamwGroup group) {
  const CudaAdamwTensor& tensor = group.tensors[blockIdx.y];
  const int64_t first = static_cast<int64_t>(blockIdx.x) * blockDim.x;
  if (first >= tensor.size) {
    return;  // the whole block
  }
  __shared__ StepFactors shared_factors;
  if (threadIdx.x == 0) {
    shared_factors = step_factors(group, *tensor.step);
  }
  __syncthreads();
  const StepFactors factors = shared_factors;
  const float clip_factor = group.clip_factor == nullptr ? 1.0F : *group.clip_factor;
  const float beta1 = static_cast<float>(group.beta1), beta2 = static_cast<float>(group.beta2);
  const float rest1 = static_cast<float>(1.0 - group.beta1), rest2 = static_cast<float>(1.0 - group.beta2);
  T* parameters = static_cast<T*>(tensor.parameter);
  T* exp_avgs = static_cast<T*>(tensor.exp_avg);
  T* exp_avg_sqs = static_cast<T*>(tensor.exp_avg_sq);
  for (int64_t i = first + threadIdx.x; i < tensor.size; i += static_cast<int64_t>(gridDim.x) * blockDim.x) {
    const float gradient = static_cast<float>(static_cast<const T*>(tensor.gradient)[i]) * clip_factor;
    const float exp_avg = beta1 * static_cast<float>(exp_avgs[i]) + rest1 * gradient;
    const float exp_avg_sq = beta2 * static_cast<float>(exp_avg_sqs[i]) + rest2 * gradient * gradient;
    const float denominator = sqrtf(exp_avg_sq) / factors.inverse_root + group.epsilon;
    const float decayed = static_cast<float>(parameters[i]) * group.one_minus_decay;
    parameters[i] = static_cast<T>(decayed - factors.size * exp_avg / denominator);
    exp_avgs[i] = static_cast<T>(exp_avg);
    exp_avg_sqs[i] = static_cast<T>(exp_avg_sq);
  }
}

/// Tensors begin … of the list, at most kGroup.
cudaError_t launch_group(const CudaPlace& place, const CudaAdamw& a, int64_t begin) {
  const int64_t count = std::min<int64_t>(kGroup, a.num_tensors - begin);
  AdamwGroup group{};
  group.learning_rate = a.learning_rate;
  group.one_minus_decay = static_cast<float>(1.0 - a.learning_rate * a.weight_decay);
  group.epsilon = static_cast<float>(a.epsilon);
  group.beta1 = a.beta1;
  group.beta2 = a.beta2;
  group.clip_factor = a.clip_factor;
  int64_t largest = 0;
  for (int64_t i = 0; i < count; ++i) {
    group.tensors[i] = a.tensors[begin + i];
    largest = std::max(largest, group.tensors[i].size);
  }
  if (largest == 0) {
    return cudaSuccess;
  }
  const int64_t blocks = std::min(kMostBlocks, divided_up(largest, kAdamwThreads));
  const Shape shape{dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(count)), dim3(static_cast<unsigned>(kAdamwThreads))};
  switch (a.dtype) {
    case CudaDtype::kFloat32:
      return launch(adamw_kernel<float>, shape, place, group);
    case CudaDtype::kBFloat16:
      return launch(adamw_kernel<__nv_bfloat16>, shape, place, group);
    case CudaDtype::kFloat16:
      return launch(adamw_kernel<__half>, shape, place, group);
  }
  return cudaErrorInvalidValue;
}

}  // namespace
}  // namespace device

extern "C" int32_t lora_cuda_adamw(const CudaPlace* place, const CudaAdamw* arguments) {
  for (int64_t begin = 0; begin < arguments->num_tensors; begin += device::kGroup) {
    const cudaError_t status = device::launch_group(*place, *arguments, begin);
    if (status != cudaSuccess) {
      return status;
    }
  }
  return cudaSuccess;
}

}  // namespace lora::ops
