#pragma once
#include <ATen/core/Tensor.h>

#include <string>

#include "ops/cuda/interface.h"

namespace lora::ops {

/// The functions of liblora_cuda.so, documented in ops/cuda/interface.h.
struct CudaKernels {
  at::DeviceType device_type = at::kCUDA;  ///< of the tensors that they take
  decltype(&lora_cuda_check_devices) check_devices = nullptr;
  decltype(&lora_cuda_error_text) error_text = nullptr;
  decltype(&lora_cuda_allocate_managed) allocate_managed = nullptr;
  decltype(&lora_cuda_free_managed) free_managed = nullptr;
  decltype(&lora_cuda_rms_norm) rms_norm = nullptr;
  decltype(&lora_cuda_rms_norm_backward) rms_norm_backward = nullptr;
  decltype(&lora_cuda_rope) rope = nullptr;
  decltype(&lora_cuda_gated) gated = nullptr;
  decltype(&lora_cuda_gated_backward) gated_backward = nullptr;
  decltype(&lora_cuda_cross_entropy) cross_entropy = nullptr;
  decltype(&lora_cuda_dropout) dropout = nullptr;
  decltype(&lora_cuda_decode) decode = nullptr;
  decltype(&lora_cuda_decode_grid) decode_grid = nullptr;
  decltype(&lora_cuda_decode_gguf) decode_gguf = nullptr;
  decltype(&lora_cuda_multiply_codes) multiply_codes = nullptr;
};

/// A module that was opened, or the reason why it was not.
struct CudaModule {
  CudaKernels kernels;
  std::string failure;  ///< "": every function was found
};

/// Opens the shared library `file` and looks up every function. Needs neither device nor driver.
CudaModule load_cuda_module(const std::string& file);

/// The kernels for a tensor: null unless it is in float32, bfloat16 or float16 on a CUDA device that they support. If null, callers
/// use their fallback.
const CudaKernels* cuda_kernels(const at::Tensor& tensor);
/// The kernels for tensors on a device, whatever their dtype.
const CudaKernels* cuda_kernels(at::Device device);

}  // namespace lora::ops
