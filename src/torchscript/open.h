#pragma once
#include <ATen/core/Tensor.h>
#include <torch/csrc/jit/api/module.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>

#include "lora/models/base_model.h"
#include "network.h"

namespace lora::torchscript {

/// Throws config Error unless the file may be run.
void require_trust(const std::filesystem::path& file, bool trusted);

/// Loads a module: its parameters in `dtype` (none: their own), everything on the device, devices in its code too, nothing
/// requiring gradients. Throws model Error.
torch::jit::Module open_module(const std::filesystem::path& file, std::optional<at::ScalarType> dtype, at::Device device);

/// The module of a run's options, lowered; `output` as Network takes it. Throws model Error.
std::unique_ptr<Network> open_network(const models::ModelOptions& options, const std::string& output, at::Device device);

/// Makes the model that is wanted of the file, with its checks.
using Opener = std::function<std::unique_ptr<nn::Model>(at::Device device)>;

/// Loads a base by `open`, in a child process first. Throws what load_model throws.
models::BaseModel load_by(const models::ModelOptions& options, const Opener& open);

/// Runs `work`, which opens the file and runs so many passes of it at most, in a child process first, within limits by the
/// file's size: see try_in_child.
void try_file(const std::filesystem::path& file, int64_t num_passes, const std::function<void()>& work);

}  // namespace lora::torchscript
