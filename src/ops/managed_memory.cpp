#include "lora/ops/managed_memory.h"

#include <ATen/ATen.h>
#include <c10/core/Stream.h>

#include "lora/base/error.h"
#include "lora/ops/streams.h"
#include "ops/cuda_module.h"

namespace lora::ops {

at::Tensor managed_zeros_like(const at::Tensor& like, at::ScalarType type) {
  const CudaKernels* const kernels = cuda_kernels(like);
  if (kernels == nullptr) {
    config_error("training.optim",
                 "a paged optimiser needs liblora_cuda.so, which cannot be used here (see the log line about CUDA "
                 "kernels). Install the program with its CUDA module, or choose an optimiser that is not paged.");
  }
  const at::Device device = like.device();
  const at::TensorOptions options = like.options().dtype(type).requires_grad(false);
  const at::Tensor layout = at::empty_like(like, options.device(at::kMeta));
  const auto bytes = static_cast<int64_t>(layout.nbytes());
  const CudaPlace place{device.index(), current_stream(device).native_handle()};
  void* memory = nullptr;
  if (const int32_t status = kernels->allocate_managed(&place, bytes, &memory); status != 0) {
    config_error("training.optim", "CUDA cannot allocate " + std::to_string(bytes) +
                                       " bytes of managed memory for a paged optimiser: " + kernels->error_text(status));
  }
  const auto release = [kernels, index = place.device](void* address) {
    const CudaPlace freed{index, nullptr};
    kernels->free_managed(&freed, address);
  };
  return at::from_blob(memory, layout.sizes(), layout.strides(), release, options, device);
}

}  // namespace lora::ops
