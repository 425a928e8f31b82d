#include "lora/nn/device.h"

#include <ATen/Context.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <dlfcn.h>
#include <sys/resource.h>
#include <torch/cuda.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>

#include "lora/base/control_group.h"
#include "lora/base/error.h"
#include "lora/ops/compiled_products.h"
#include "lora/ops/cuda.h"

namespace lora::nn {

namespace {

namespace fs = std::filesystem;

/// LibTorch's CUDA library. It is in the folder of the LibTorch that is loaded, or, for an installed program, of the one it was built with.
fs::path cuda_library() {
  constexpr const char* kName = "libtorch_cuda.so";
  Dl_info loaded{};
  if (dladdr(reinterpret_cast<const void*>(&at::globalContext), &loaded) != 0) {
    std::error_code ignored;
    const fs::path next_to_it = fs::absolute(loaded.dli_fname).parent_path() / kName;
    if (fs::exists(next_to_it, ignored)) {
      return next_to_it;
    }
  }
  return fs::path(LORA_LIBTORCH_FOLDER) / kName;
}

/// Opens libtorch_cuda.so, whose kernels register themselves. Returns the reason if that fails, else "".
std::string open_cuda_library() {
  static const std::string failure = [] {
    if (dlopen("libcuda.so.1", RTLD_LAZY) == nullptr) {  // by its bare name: the system's loader finds the driver
      return std::string("no NVIDIA driver was found (libcuda.so.1)");
    }
    if (dlopen(cuda_library().c_str(), RTLD_NOW | RTLD_GLOBAL) == nullptr) {
      return std::string("this LibTorch cannot load its CUDA part: ") + dlerror();
    }
    return torch::cuda::is_available() ? std::string() : std::string("the driver reports no device");
  }();
  return failure;
}

}  // namespace

at::Device open_device(const std::string& name) {
  ops::cache_compiled_products(ops::kProductsOfTexts);
  if (name == "cpu") {
    return at::kCPU;
  }
  const std::string failure = open_cuda_library();
  if (!failure.empty()) {
    if (name == "auto") {
      return at::kCPU;
    }
    config_error("model.device", "CUDA cannot be used: found '" + name + "', but " + failure + ". Use \"cpu\" or \"auto\".");
  }
  const at::Device device(name == "auto" ? "cuda" : name);
  const int64_t index = device.has_index() ? device.index() : 0;
  const int64_t count = static_cast<int64_t>(torch::cuda::device_count());
  if (index >= count) {
    config_error("model.device", "no such device: found '" + name + "', expected cuda:0 to cuda:" + std::to_string(count - 1));
  }
  ops::open_cuda_kernels();
  return at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(index));
}

namespace {

/// The value of a line such as "VmHWM: 1234 kB" in a file of /proc, in bytes; 0 if there is none.
int64_t bytes_in(const char* path, const std::string& key) {
  std::ifstream file(path);
  for (std::string word; file >> word;) {
    if (word == key) {
      int64_t kilobytes = 0;
      file >> kilobytes;
      return kilobytes * 1024;
    }
  }
  return 0;
}

}  // namespace

int64_t peak_memory_bytes(at::Device device) {
  if (device.is_cuda()) {
    return at::getDeviceAllocator(at::kCUDA)->getDeviceStats(device.index()).allocated_bytes[0].peak;
  }
  // Not getrusage's value: that one starts at the size of the program that started this process.
  return bytes_in("/proc/self/status", "VmHWM:");
}

int64_t held_memory_bytes(at::Device device) {
  if (device.is_cuda()) {
    return at::getDeviceAllocator(at::kCUDA)->getDeviceStats(device.index()).reserved_bytes[0].current;
  }
  return bytes_in("/proc/self/status", "RssAnon:");
}

std::optional<int64_t> available_memory_bytes(at::Device device) {
  if (device.is_cuda()) {
    return static_cast<int64_t>(at::getDeviceAllocator(at::kCUDA)->getMemoryInfo(device.index()).first);
  }
  int64_t available = bytes_in("/proc/meminfo", "MemAvailable:");
  if (available == 0) {
    return std::nullopt;
  }
  if (const std::optional<int64_t> room = control_group_room("/sys/fs/cgroup", "/proc/self/cgroup")) {
    available = std::min(available, *room);
  }
  rlimit data{};
  if (getrlimit(RLIMIT_DATA, &data) == 0 && data.rlim_cur != RLIM_INFINITY) {
    available = std::min(available, static_cast<int64_t>(data.rlim_cur) - bytes_in("/proc/self/status", "VmData:"));
  }
  return std::max<int64_t>(0, available);
}

void release_cached_memory(at::Device device) {
  if (device.is_cuda()) {
    at::getDeviceAllocator(at::kCUDA)->emptyCache();
  }
}

void make_deterministic() {
  // Written here and not in src/tools: cuBLAS and LibTorch's own check read it and have no other switch, and it
  // is only right for runs whose config asks for it, which the tools do not read.
  setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", 0);
  at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/false);
  at::globalContext().setDeterministicFillUninitializedMemory(false);  // it costs time, and nothing here reads uninitialised memory
  at::globalContext().setDeterministicCuDNN(true);
  at::globalContext().setBenchmarkCuDNN(false);
}

}  // namespace lora::nn
