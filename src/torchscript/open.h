#pragma once
#include <ATen/core/Tensor.h>
#include <torch/csrc/jit/api/module.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>

#include "lora/models/base_model.h"
#include "torchscript/network.h"

namespace lora::torchscript {

/// Throws config Error unless the file's code may run.
void require_trust(const std::filesystem::path& file, bool trusted);

/// Loads a module: parameters in `dtype` (none: their own), everything, including devices in its code, on the device, without gradients.
/// Throws model Error.
torch::jit::Module open_module(const std::filesystem::path& file, std::optional<at::ScalarType> dtype, at::Device device);

/// Opens and lowers the module of a run's options; `output` is that of Network. Throws model Error.
std::unique_ptr<Network> open_network(const models::ModelOptions& options, const std::string& output, at::Device device);

/// Creates a model from the file, with its checks.
using Opener = std::function<std::unique_ptr<nn::Model>(at::Device device)>;

/// Loads a base model with `open`, in a child process first. Throws what load_model throws.
models::BaseModel load_by(const models::ModelOptions& options, const Opener& open);

/// Runs `work`, which opens the file and runs at most `num_passes` passes, in a child process first. The limits depend on the file's size:
/// see try_in_child.
void try_file(const std::filesystem::path& file, int64_t num_passes, const std::function<void()>& work);

}  // namespace lora::torchscript
