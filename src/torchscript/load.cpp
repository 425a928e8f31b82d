#include "lora/torchscript/load.h"

#include <ATen/ATen.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/serialization/import.h>

#include <map>
#include <tuple>

#include "lora/base/error.h"
#include "lora/base/text.h"
#include "lora/nn/device.h"
#include "lora/nn/given_scores.h"
#include "lora/torchscript/archive.h"
#include "torchscript/checks.h"
#include "torchscript/devices.h"
#include "torchscript/open.h"
#include "torchscript/script_model.h"
#include "torchscript/trial.h"

namespace lora::torchscript {

namespace {

namespace fs = std::filesystem;

/// Moves parameters to the dtype and everything to the device, in place. Tensors that share memory continue to share it.
void convert(torch::jit::Module& module, std::optional<at::ScalarType> dtype, at::Device device) {
  using Memory = std::tuple<const void*, std::vector<int64_t>, std::vector<int64_t>, at::ScalarType>;
  std::map<Memory, at::Tensor> converted;
  for (const Slot& slot : all_slots(module)) {
    at::Tensor tensor = slot.tensor;
    const bool changes = dtype && slot.is_parameter && tensor.is_floating_point() && tensor.scalar_type() != *dtype;
    tensor.set_requires_grad(false);
    if (!changes && tensor.device() == device) {
      continue;
    }
    const at::ScalarType own = changes ? *dtype : tensor.scalar_type();
    at::Tensor& target = converted[{tensor.data_ptr(), tensor.sizes().vec(), tensor.strides().vec(), own}];
    target = target.defined() ? target : tensor.to(device, own);
    tensor.set_data(target);
  }
}

int64_t file_bytes(const fs::path& file) {
  std::error_code ignored;
  return static_cast<int64_t>(fs::file_size(file, ignored));
}

std::unique_ptr<nn::Model> open_model(const models::ModelOptions& options, at::Device device) {
  const std::string output = options.output.value_or(kLogits);
  auto network =
      std::make_unique<ScriptModel>(open_network(options, output, device), options.inputs.value_or(std::vector<std::string>()), output);
  require_sound_network(*network);
  auto model = std::make_unique<nn::Model>();
  model->tokens = std::make_unique<nn::GivenLogits>(network->vocab_size(), network->dtype(), network->head());
  model->body = std::move(network);
  return model;
}

void require_no_options(const models::ModelOptions& options) {
  if (options.from_scratch) {
    config_error("model.from_scratch", "is not supported for TorchScript, whose files have weights: found true, expected false");
  }
  if (options.base_dropout.value_or(0) != 0) {
    config_error("model.base_dropout", "cannot change the dropout of a TorchScript model: found " + std::to_string(*options.base_dropout) +
                                           ", expected 0 (evaluation mode) or null (the module's own dropout)");
  }
}

}  // namespace

void require_trust(const fs::path& file, bool trusted) {
  if (!trusted) {
    config_error("model.trust_torchscript",
                 "found false, expected true (or the flag --trust-torchscript) to load '" + file.string() +
                     "'. A TorchScript file is a program, not data: loading it runs its author's code. Nothing was loaded.");
  }
}

torch::jit::Module open_module(const fs::path& file, std::optional<at::ScalarType> dtype, at::Device device) {
  try {
    torch::jit::Module module = torch::jit::load(file.string(), at::Device(at::kCPU));
    convert(module, dtype, device);
    settle_devices(module, device);
    return module;
  } catch (const std::exception& error) {
    model_error(file.string(), "cannot be loaded by this version of torch: " + printable(first_line(trim(error.what())), 300));
  }
}

std::unique_ptr<Network> open_network(const models::ModelOptions& options, const std::string& output, at::Device device) {
  torch::jit::Module module = open_module(options.path, models::scalar_type(options.dtype), device);
  const bool frozen_form = options.base_dropout.has_value();
  return std::make_unique<Network>(std::move(module), options.path.string(), device, frozen_form, output);
}

void try_file(const fs::path& file, int64_t num_passes, const std::function<void()>& work) {
  const int64_t bytes = file_bytes(file);
  const int64_t seconds = (num_passes + 8) * (bytes >> 28);  // at 256 MiB per second
  try_in_child(file.string(), {(int64_t{4} << 30) + 8 * bytes, 120 + seconds}, work);
}

models::BaseModel load_by(const models::ModelOptions& options, const Opener& open) {
  require_trust(options.path, options.trust_torchscript);
  require_no_options(options);
  models::BaseModel base;
  base.fingerprint = read_archive(options.path).fingerprint;
  try_file(options.path, kCheckPasses, [&open] { open(at::kCPU); });
  base.model = open(nn::open_device(options.device));
  base.config = Json::object();
  base.model_type = "TorchScript";
  base.files.push_back(options.path);
  return base;
}

models::BaseModel load_model(const models::ModelOptions& options) {
  return load_by(options, [&options](at::Device device) { return open_model(options, device); });
}

}  // namespace lora::torchscript
