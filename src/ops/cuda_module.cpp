#include "ops/cuda_module.h"

#include <dlfcn.h>

#include "lora/base/log.h"
#include "lora/base/own_library.h"
#include "lora/ops/cuda.h"

namespace lora::ops {

namespace {

/// Looks up functions and remembers the first missing one.
class Symbols {
 public:
  explicit Symbols(void* library) : library_(library) {}

  template <typename Function>
  void find(const char* name, Function& function) {
    function = reinterpret_cast<Function>(dlsym(library_, name));
    if (function == nullptr && missing_.empty()) {
      missing_ = name;
    }
  }
  const std::string& missing() const { return missing_; }

 private:
  void* library_;
  std::string missing_;
};

/// Why a library is not a module of this version, or "".
std::string version_failure(Symbols& symbols) {
  decltype(&lora_cuda_interface_version) version = nullptr;
  symbols.find("lora_cuda_interface_version", version);
  if (version == nullptr) {
    return "it has no lora_cuda_interface_version";
  }
  const int32_t found = version();
  return found == kCudaInterfaceVersion
             ? ""
             : "it has another version: found " + std::to_string(found) + ", expected " + std::to_string(kCudaInterfaceVersion);
}

/// Opened once and kept until the process ends: kernels must not be unloaded while work is queued.
const CudaModule& opened_module() {
  static const CudaModule module = [] {
    CudaModule loaded = load_cuda_module(own_library("liblora_cuda.so"));
    if (loaded.failure.empty()) {
      if (const int32_t status = loaded.kernels.check_devices(); status != 0) {
        loaded.failure = loaded.kernels.error_text(status);
      }
    }
    return loaded;
  }();
  return module;
}

}  // namespace

CudaModule load_cuda_module(const std::string& file) {
  CudaModule module;
  void* library = dlopen(file.c_str(), RTLD_LAZY | RTLD_LOCAL);
  if (library == nullptr) {
    module.failure = dlerror();
    return module;
  }
  Symbols symbols(library);
  module.failure = version_failure(symbols);
  if (!module.failure.empty()) {
    return module;
  }
  CudaKernels& kernels = module.kernels;
  symbols.find("lora_cuda_check_devices", kernels.check_devices);
  symbols.find("lora_cuda_error_text", kernels.error_text);
  symbols.find("lora_cuda_allocate_managed", kernels.allocate_managed);
  symbols.find("lora_cuda_free_managed", kernels.free_managed);
  symbols.find("lora_cuda_rms_norm", kernels.rms_norm);
  symbols.find("lora_cuda_rms_norm_backward", kernels.rms_norm_backward);
  symbols.find("lora_cuda_rope", kernels.rope);
  symbols.find("lora_cuda_gated", kernels.gated);
  symbols.find("lora_cuda_gated_backward", kernels.gated_backward);
  symbols.find("lora_cuda_cross_entropy", kernels.cross_entropy);
  symbols.find("lora_cuda_dropout", kernels.dropout);
  symbols.find("lora_cuda_decode", kernels.decode);
  symbols.find("lora_cuda_decode_grid", kernels.decode_grid);
  symbols.find("lora_cuda_decode_gguf", kernels.decode_gguf);
  symbols.find("lora_cuda_multiply_codes", kernels.multiply_codes);
  if (!symbols.missing().empty()) {
    module.failure = "it has no " + symbols.missing();
  }
  return module;
}

const CudaKernels* cuda_kernels(at::Device device) {
  return device.is_cuda() && opened_module().failure.empty() ? &opened_module().kernels : nullptr;
}

const CudaKernels* cuda_kernels(const at::Tensor& tensor) {
  const at::ScalarType type = tensor.scalar_type();
  const bool has_type = type == at::kFloat || type == at::kBFloat16 || type == at::kHalf;
  return has_type ? cuda_kernels(tensor.device()) : nullptr;
}

bool open_cuda_kernels() {
  const std::string& failure = opened_module().failure;
  static const bool told = [&failure] {
    if (!failure.empty()) {
      log::warn("the program's own CUDA kernels cannot be used (" + failure +
                "): norms, rotary embedding, activations, loss and dropout use LibTorch's operations, with the same results but slower");
    }
    return true;
  }();
  return told && failure.empty();
}

}  // namespace lora::ops
