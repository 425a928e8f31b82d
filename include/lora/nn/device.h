#pragma once
#include <c10/core/Device.h>

#include <cstdint>
#include <string>

namespace lora::nn {

/// "cpu", "cuda", "cuda:N", or "auto": CUDA where LibTorch has it and a device is there, else the CPU. LibTorch's CUDA
/// library is opened here, at run time, so that one binary serves both. Throws config Error when CUDA was asked for
/// and cannot be had, with the reason.
at::Device open_device(const std::string& name);

/// Peak memory since the start: resident set on the CPU, allocated bytes on the device.
int64_t peak_memory_bytes(at::Device device);

/// Same results in every run: deterministic kernels, no TF32. `training.deterministic`.
void make_deterministic();

}  // namespace lora::nn
