#pragma once
#include <c10/core/Device.h>

#include <cstdint>
#include <optional>
#include <string>

namespace lora::nn {

/// "cpu", "cuda", "cuda:N", or "auto": CUDA if LibTorch supports it and there is a device, otherwise the CPU. LibTorch's CUDA
/// library is opened here, at run time, so that one binary serves both. Throws config Error with the reason if CUDA was
/// requested and cannot be used.
at::Device open_device(const std::string& name);

/// Peak memory since the start: the resident set on the CPU, allocated bytes on a device.
int64_t peak_memory_bytes(at::Device device);

/// Memory that is still available: on the device, or on the machine within the limits of its control group and of the process's
/// data segment (ulimit -d). None: unknown.
std::optional<int64_t> available_memory_bytes(at::Device device);

/// Memory that this process already holds: tensors on the device, or the process's private memory on the CPU.
int64_t held_memory_bytes(at::Device device);

/// Returns memory that LibTorch caches to the device, so that a smaller batch finds it in one piece.
void release_cached_memory(at::Device device);

/// `training.deterministic`: the same results in every run, by deterministic kernels and no TF32. Call it before CUDA is first used.
void make_deterministic();

}  // namespace lora::nn
