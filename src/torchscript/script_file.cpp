#include "lora/torchscript/script_file.h"

#include <ATen/ATen.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/serialization/export.h>
#include <torch/csrc/jit/serialization/import.h>

#include "lora/base/error.h"
#include "lora/base/file.h"
#include "lora/base/text.h"
#include "lora/torchscript/archive.h"
#include "torchscript/hosts.h"
#include "torchscript/network.h"
#include "torchscript/open.h"

namespace lora::torchscript {

namespace {

constexpr std::string_view kExtra = "extra/";  ///< the archive's folder for the _extra_files of torch.jit.save

/// The object that holds a slot, and the slot's name there.
std::pair<torch::jit::Module, std::string> holder_of(const torch::jit::Module& module, const std::string& slot) {
  torch::jit::Module holder = module;
  const std::vector<std::string> parts = split(slot, '.');
  for (size_t i = 0; i + 1 < parts.size(); ++i) {
    holder = holder.attr(parts[i]).toModule();
  }
  return {holder, parts.back()};
}

HostWeight weight_of(const nn::Host& host, const nn::BaseWeight& weight, const Hosts& hosts) {
  HostWeight result;
  result.name = weight.parameter().name;
  result.slot = hosts.slot_names.at(result.name);
  result.shape = weight.shape();
  result.kind = host.kind();
  const auto* linear = dynamic_cast<const nn::Linear*>(&host);
  result.inputs_first = linear != nullptr && linear->layout() == nn::WeightLayout::kInOut;
  result.is_adaptable = host.takes_low_rank() && &weight == &host.weights().front();
  if (const auto* hidden = dynamic_cast<const HiddenLinear*>(&host)) {
    result.note = "adapted as W + scale B A: used by " + hidden->operations();
  } else if (!host.takes_low_rank()) {
    result.note = "no linear operation or table uses it as its weight";
  }
  return result;
}

}  // namespace

struct ScriptFile::Impl {
  torch::jit::Module module;              ///< unchanged from the file
  torch::jit::ExtraFilesMap extra_files;  ///< the file's other entries
};

ScriptFile::ScriptFile(const std::filesystem::path& file, bool trusted) : impl_(std::make_unique<Impl>()) {
  require_trust(file, trusted);
  const Archive archive = read_archive(file);
  fingerprint_ = archive.fingerprint;
  const auto open = [&file] {
    return std::make_unique<Network>(open_module(file, std::nullopt, at::kCPU), file.string(), at::kCPU, /*frozen_form=*/true, "logits");
  };
  try_file(file, /*num_passes=*/0, [&open] { open(); });
  const std::unique_ptr<Network> network = open();  // this changes the module's training mode
  for (const auto& host : network->hosts().all) {
    for (const nn::BaseWeight& weight : host->weights()) {
      weights_.push_back(weight_of(*host, weight, network->hosts()));
    }
  }
  for (const Argument& argument : network->arguments()) {
    arguments_.push_back(argument.name);
  }
  for (const ArchiveEntry& entry : archive.entries) {
    if (entry.name.starts_with(kExtra)) {
      impl_->extra_files.emplace(entry.name.substr(kExtra.size()), "");
    }
  }
  impl_->module = torch::jit::load(file.string(), at::Device(at::kCPU), impl_->extra_files);
}

ScriptFile::~ScriptFile() = default;

at::Tensor ScriptFile::tensor(const std::string& slot) const {
  const auto [holder, name] = holder_of(impl_->module, slot);
  return holder.attr(name).toTensor().detach();
}

void ScriptFile::set(const std::string& slot, const at::Tensor& tensor) {
  auto [holder, name] = holder_of(impl_->module, slot);
  holder.setattr(name, tensor.detach().clone().set_requires_grad(holder.attr(name).toTensor().requires_grad()));
}

void ScriptFile::save(const std::filesystem::path& file) const {
  write_file_atomically(file, [this, &file](const Append& append) {
    try {
      const auto write = [&append](const void* bytes, size_t size) {
        append(bytes, size);
        return size;
      };
      torch::jit::ExportModule(impl_->module, write, impl_->extra_files);
    } catch (const c10::Error& error) {
      output_error(file.string(), "cannot be written: " + trim(error.what_without_backtrace()));
    }
  });
}

}  // namespace lora::torchscript
