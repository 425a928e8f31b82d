#include "cuda/emulated_kernels.h"

#include "cuda/emulation.h"
// The sources themselves, after CUDA's keywords are defined.
#include "ops/cuda/codes.cu"
#include "ops/cuda/cross_entropy.cu"
#include "ops/cuda/dropout.cu"
#include "ops/cuda/gated_activation.cu"
#include "ops/cuda/gguf.cu"
#include "ops/cuda/grid_codes.cu"
#include "ops/cuda/rms_norm.cu"
#include "ops/cuda/rope.cu"

namespace lora::test {

ops::CudaKernels emulated_kernels() {
  return {.device_type = at::kCPU,
          .check_devices = [] { return int32_t{0}; },
          .error_text = [](int32_t) { return "refused by the emulation"; },
          .rms_norm = ops::lora_cuda_rms_norm,
          .rms_norm_backward = ops::lora_cuda_rms_norm_backward,
          .rope = ops::lora_cuda_rope,
          .gated = ops::lora_cuda_gated,
          .gated_backward = ops::lora_cuda_gated_backward,
          .cross_entropy = ops::lora_cuda_cross_entropy,
          .dropout = ops::lora_cuda_dropout,
          .decode = ops::lora_cuda_decode,
          .decode_grid = ops::lora_cuda_decode_grid,
          .decode_gguf = ops::lora_cuda_decode_gguf,
          .multiply_codes = ops::lora_cuda_multiply_codes};
}

}  // namespace lora::test
