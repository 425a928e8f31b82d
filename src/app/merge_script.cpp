#include "app/merge_script.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>

#include "app/merge_check.h"
#include "lora/base/counted.h"
#include "lora/base/error.h"
#include "lora/base/file.h"
#include "lora/base/interrupt.h"
#include "lora/base/log.h"
#include "lora/base/result_file.h"
#include "lora/base/text.h"
#include "lora/peft/base_reference.h"
#include "lora/torchscript/script_file.h"

namespace lora::app {

namespace {

using torchscript::HostWeight;
using torchscript::ScriptFile;

void require_script_flags(const MergeRequest& request, const models::ModelOptions& model) {
  if (model.dtype != models::ComputeDtype::kAuto) {
    config_error("--dtype", "cannot be used with a TorchScript model, whose code may depend on its dtype: found '" + request.dtype +
                                "', expected auto");
  }
  if (!request.base_as.empty() || request.requantize) {
    config_error(request.requantize ? "--requantize" : "--base-as",
                 "cannot be used with a TorchScript model, whose weights are not quantised");
  }
  if (fs::is_directory(request.output)) {
    output_error(request.output.string(), "is a folder, expected the name of a .pt file to write");
  }
  if (fs::exists(request.output) && !request.overwrite) {
    output_error(request.output.string(), "already exists. Choose another --output, or replace it with --overwrite.");
  }
}

/// The file to write.
fs::path checked_script_file(const MergeRequest& request, const models::ModelOptions& model) {
  std::vector<fs::path> inputs{request.adapters.begin(), request.adapters.end()};
  inputs.push_back(model.path);
  if (!request.data.empty()) {
    inputs.emplace_back(request.data);
  }
  return ResultFile(request.output, inputs).whole_file();
}

/// The adapters with the module's names, as updates of its unchanged weights, in the layout of each weight.
std::vector<peft::WeightedAdapter> settled(std::vector<peft::WeightedAdapter> adapters, const ScriptFile& file) {
  std::map<std::string, bool> inputs_first;
  std::map<std::string, std::string> slots;
  std::vector<std::string> modules;
  for (const HostWeight& weight : file.weights()) {
    inputs_first.emplace(weight.name, weight.inputs_first);
    slots.emplace(weight.name, weight.slot);
    modules.push_back(weight.name.substr(0, weight.name.rfind('.')));
  }
  for (peft::WeightedAdapter& adapter : adapters) {
    peft::require_low_rank(adapter.adapter, "merged into a TorchScript module");
    peft::align(adapter.adapter, modules);
    peft::settle_start(adapter.adapter, [&](const std::string& module) {
      const auto slot = slots.find(module + ".weight");
      if (slot == slots.end()) {
        model_error(adapter.name, "does not match the base: found an update of " + module + ", which has no weight in the base");
      }
      const at::Tensor weight = file.tensor(slot->second);
      return inputs_first.at(slot->first) ? weight.t() : weight;
    });
    std::vector<peft::LowRankUpdate> updates = adapter.adapter.low_rank();
    for (peft::LowRankUpdate& update : updates) {
      const auto found = inputs_first.find(update.module + ".weight");
      if (!update.is_embedding() && update.kernel.empty()) {
        update.kind = found != inputs_first.end() && found->second ? peft::PairKind::kConv1D : peft::PairKind::kLinear;
      }
    }
    adapter.adapter.set_low_rank(std::move(updates));
  }
  return adapters;
}

/// Refuses a slot with two names, which is one tensor: changing one of them would change both.
void require_unshared(const peft::MergePlan& plan, const ScriptFile& file) {
  for (const peft::MergedTensor& tensor : plan.tensors) {
    const auto is_its = [&tensor](const HostWeight& weight) { return weight.slot == tensor.source; };
    if (tensor.is_changed() && std::count_if(file.weights().begin(), file.weights().end(), is_its) > 1) {
      model_error(tensor.source,
                  "cannot be merged into, because the module was traced with tied weights: this is also the weight of another module, "
                  "which the adapter does not change. Script the module, or trace it untied.");
    }
  }
}

at::Tensor merged_weight(const peft::MergedTensor& tensor, const at::Tensor& base) {
  throw_if_interrupted();
  const int64_t rows = tensor.shape.empty() ? 1 : tensor.shape.front();
  const at::Tensor merged = peft::merged_rows(tensor, base, 0, rows).to(base.scalar_type()).view(base.sizes());
  if (!at::isfinite(merged).all().item<bool>()) {
    model_error(tensor.source, "would get a value that is not finite. Likely cause: a damaged base, or values too large for its dtype.");
  }
  return merged;
}

/// Refuses a module without token ids as input, because the comparison runs both models on ids.
void require_ids(const MergeRequest& request, const ScriptFile& file) {
  const std::vector<std::string>& of_file = request.inputs.empty() ? file.arguments() : request.inputs;
  if (std::find(of_file.begin(), of_file.end(), "input_ids") == of_file.end()) {
    config_error("--verify", "compares language models: found a module that takes " + join(of_file) +
                                 ", expected input_ids among them. Compare both with lora-eval --objective, or leave it out.");
  }
}

/// Saves the result under another name, compares it, and only then gives it its name.
void save_verified(const MergeRequest& request, const ScriptFile& file, const fs::path& output) {
  const fs::path unverified = output.parent_path() / ("." + output.filename().string() + ".unverified.pt");
  try {
    file.save(unverified);
    require_equal_merge(request, unverified);
    fs::rename(unverified, output);
  } catch (...) {
    std::error_code ignored;
    fs::remove(unverified, ignored);
    throw;
  }
}

}  // namespace

void merge_script(const MergeRequest& request, const models::ModelOptions& model, const std::vector<peft::WeightedAdapter>& adapters) {
  require_script_flags(request, model);
  const fs::path output = checked_script_file(request, model);
  ScriptFile file(model.path, model.trust_torchscript);
  if (request.verify) {
    require_ids(request, file);
  }
  const peft::BaseReference reference(model.name, request.unmerge ? "" : file.fingerprint(), request.allow_other_base);
  for (const peft::WeightedAdapter& adapter : adapters) {
    peft::require_same_base(adapter.name, adapter.adapter.base_fingerprint, reference);
  }
  peft::BaseLayout layout;
  for (const HostWeight& weight : file.weights()) {
    layout.tensors.push_back({weight.slot, weight.shape, file.tensor(weight.slot).is_floating_point(), weight.name});
  }
  const peft::MergePlan plan = peft::plan_merge(layout, settled(adapters, file), request.unmerge);
  require_unshared(plan, file);
  int64_t changed = 0;
  for (const peft::MergedTensor& tensor : plan.tensors) {
    if (tensor.is_changed()) {
      file.set(tensor.source, merged_weight(tensor, file.tensor(tensor.source)));
      ++changed;
    }
  }
  if (request.verify) {
    save_verified(request, file, output);
  } else {
    file.save(output);
  }
  log::info("wrote " + request.output.string() + ": " + counted(changed, "tensor") + " " + (request.unmerge ? "unmerged" : "merged"));
}

}  // namespace lora::app
