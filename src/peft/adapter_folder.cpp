#include "lora/peft/adapter_folder.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <set>

#include "lora/base/counted.h"
#include "lora/base/error.h"
#include "lora/base/file.h"
#include "lora/base/log.h"
#include "lora/base/text.h"
#include "lora/peft/file_names.h"
#include "peft/keys.h"
#include "peft/module_names.h"
#include "peft/report.h"
#include "peft/tensor_file.h"

namespace lora::peft {

namespace {

/// Sorts a file's tensors by the meaning of their keys.
class FolderReader {
 public:
  FolderReader(const fs::path& file, const Json& config) : file_(file), keys_(config) {}

  std::map<std::string, AdapterTensor> read(const std::vector<io::NamedTensor>& stored) {
    find_adapter_name(stored);
    for (const io::NamedTensor& named : stored) {
      take(named);
    }
    for (const auto& [name, copy] : copies_) {
      settle_copy(name, copy);
    }
    report();
    return std::move(tensors_);
  }

 private:
  void find_adapter_name(const std::vector<io::NamedTensor>& stored) {
    std::set<std::string> names;
    for (const io::NamedTensor& named : stored) {
      names.insert(AdapterKeys::adapter_name(named.name));
    }
    names.erase("");
    if (names.size() > 1) {
      model_error(file_.string(), "has several adapters: found keys of '" + join({names.begin(), names.end()}, "' and '", kNamesShown) +
                                      "', expected one adapter. Save each with PEFT's save_pretrained.");
    }
    if (!names.empty()) {
      keys_.set_adapter_name(*names.begin());
    }
  }

  void take(const io::NamedTensor& named) {
    const std::optional<AdapterKey> key = keys_.parse(named.name);
    if (!key) {
      faults_["with an unknown key"].push_back(named.name);
    } else if (!key->is_idle) {
      const bool has_no_ranks = key->role == nn::ParameterRole::kFormula && named.tensor.dim() == 2;  // AdaLoRA removed all of a module's
      if (named.tensor.numel() == 0 && !has_no_ranks) {
        faults_["without values, as DeepSpeed ZeRO-3 saves them if its shards were not gathered"].push_back(named.name);
      }
      if (at::isFloatingType(named.tensor.scalar_type()) && !at::isfinite(named.tensor).all().item<bool>()) {
        faults_["with values that are not finite"].push_back(named.name);
      }
      AdapterTensor tensor{key->name(), key->module, key->role, key->of_base, named.tensor};
      auto& into = key->is_copy ? copies_ : tensors_;
      if (!into.emplace(key->name(), std::move(tensor)).second) {
        faults_["under two keys"].push_back(named.name);
      }
    }
  }

  /// PEFT's own reader takes the tensor under the module's plain name.
  void settle_copy(const std::string& name, const AdapterTensor& copy) {
    const auto [found, is_new] = tensors_.emplace(name, copy);
    if (!is_new && !same_values(found->second.tensor, copy.tensor)) {
      log::warn("[" + file_.string() + "] has " + name +
                " twice, with other values under modules_to_save: using the plain key, as PEFT does");
    }
  }

  void report() const {
    std::vector<std::string> lines;
    for (const auto& [what, names] : faults_) {
      lines.push_back(counted(static_cast<int64_t>(names.size()), "tensor") + " " + what + ": " + join(names, ", ", kNamesShown));
    }
    if (!lines.empty()) {
      model_error(file_.string(), "is not a usable LoRA adapter: found " + join(lines, "; "));
    }
  }

  const fs::path& file_;
  AdapterKeys keys_;
  std::map<std::string, AdapterTensor> tensors_;
  std::map<std::string, AdapterTensor> copies_;  ///< under modules_to_save
  std::map<std::string, std::vector<std::string>> faults_;
};

}  // namespace

AdapterFolder::AdapterFolder(const fs::path& folder) : weights_file_(adapter_weights_file(folder)), config_(Json::object()) {
  if (fs::exists(folder / kAdapterConfigFile)) {
    config_ = read_json(folder / kAdapterConfigFile, ErrorKind::kModel);
  }
  tensors_ = FolderReader(weights_file_, config_).read(read_tensors(weights_file_, metadata_));
}

const Tensor* AdapterFolder::find(const std::string& name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : &found->second.tensor;
}

std::vector<RenamedModule> AdapterFolder::align(const std::vector<std::string>& modules) {
  std::set<std::string> own;
  for (const auto& [name, tensor] : tensors_) {
    own.insert(tensor.module);
  }
  const std::optional<ModuleRenaming> renaming = find_renaming({own.begin(), own.end()}, modules);
  if (!renaming) {
    return {};
  }
  warn_of_renaming(*renaming, weights_file_.string());
  const std::set<std::string> known(modules.begin(), modules.end());
  std::map<std::string, AdapterTensor> renamed;
  for (auto& [name, tensor] : tensors_) {
    if (known.count(tensor.module) == 0) {
      const std::string module = renaming->of(tensor.module);
      tensor.name = module + tensor.name.substr(tensor.module.size());
      tensor.module = module;
    }
    renamed.emplace(tensor.name, tensor);
  }
  tensors_ = std::move(renamed);
  return renamed_modules(*renaming, {own.begin(), own.end()}, modules);
}

fs::path adapter_weights_file(const fs::path& folder) {
  for (const char* name : {kAdapterWeightsFile, kAdapterPickleFile, kBottleneckWeightsFile, kBottleneckPickleFile}) {
    if (fs::exists(folder / name)) {
      return folder / name;
    }
  }
  model_error(folder.string(), "is not an adapter folder: expected adapter_model.safetensors or adapter_model.bin in it");
}

std::map<std::string, std::string> adapter_metadata(const fs::path& folder) {
  const fs::path file = adapter_weights_file(folder);
  return is_torch_archive(file) ? std::map<std::string, std::string>() : io::SafetensorsFile(file).metadata();
}

}  // namespace lora::peft
