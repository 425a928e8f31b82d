#pragma once
#include <c10/core/Device.h>

#include <cstdint>
#include <optional>
#include <string>

namespace lora::nn {

/// "cpu", "cuda", "cuda:N", or "auto": CUDA where LibTorch has it and a device is there, else the CPU. LibTorch's CUDA
/// library is opened here, at run time, so that one binary serves both. Throws config Error when CUDA was asked for
/// and cannot be had, with the reason.
at::Device open_device(const std::string& name);

/// Peak memory since the start: resident set on the CPU, allocated bytes on the device.
int64_t peak_memory_bytes(at::Device device);

/// Memory that can still be taken: of the device, or of the machine, its control group and the process's limit of data (ulimit -d).
/// None: not known.
std::optional<int64_t> available_memory_bytes(at::Device device);

/// Memory that this process has already: tensors on the device, or what the process has of the machine's for itself.
int64_t held_memory_bytes(at::Device device);

/// Gives memory that LibTorch keeps for later back to the device, so that a smaller batch finds it in one piece.
void release_cached_memory(at::Device device);

/// Same results in every run: deterministic kernels, no TF32. `training.deterministic`.
void make_deterministic();

}  // namespace lora::nn
