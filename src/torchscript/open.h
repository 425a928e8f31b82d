#pragma once
#include <ATen/core/Tensor.h>
#include <torch/csrc/jit/api/module.h>

#include <filesystem>
#include <functional>
#include <optional>

namespace lora::torchscript {

/// Throws config Error unless the file may be run.
void require_trust(const std::filesystem::path& file, bool trusted);

/// Loads a module: its parameters in `dtype` (none: their own), everything on the device, devices in its code too, nothing
/// requiring gradients. Throws model Error.
torch::jit::Module open_module(const std::filesystem::path& file, std::optional<at::ScalarType> dtype, at::Device device);

/// Runs `work`, which opens the file and runs so many passes of it at most, in a child process first, within limits by the
/// file's size: see try_in_child.
void try_file(const std::filesystem::path& file, int64_t num_passes, const std::function<void()>& work);

}  // namespace lora::torchscript
