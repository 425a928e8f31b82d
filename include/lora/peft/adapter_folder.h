#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "lora/base/json.h"
#include "lora/peft/update.h"

namespace lora::peft {

/// A module under the name that an adapter has for it, and under another one.
struct RenamedModule {
  std::string old_name;
  std::string new_name;
};

/// The only reader of PEFT adapter folders: config and tensors, with uniform names. It understands what PEFT 0.1 to 0.21 and the tools
/// that use it write: keys with the adapter's name, with the names of PEFT's, FSDP's and torch.compile's wrappers, with the prefix
/// doubled or missing, as safetensors or as adapter_model.bin.
class AdapterFolder {
 public:
  /// Throws model Error for a folder without weights, and for a file that is damaged or has unknown keys, several adapters, or values
  /// that are not finite.
  explicit AdapterFolder(const std::filesystem::path& folder);

  /// adapter_config.json as stored; an empty object if there is none.
  const Json& config() const { return config_; }
  const std::filesystem::path& weights_file() const { return weights_file_; }
  /// Metadata of the safetensors file.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  /// The tensors by name.
  const std::map<std::string, AdapterTensor>& tensors() const { return tensors_; }
  const Tensor* find(const std::string& name) const;

  /// If the base lacks some of the modules, and replacing one prefix gives all of them the base's names (the adapter is of the body only,
  /// or of a model around this one), renames them and logs it. Otherwise nothing is changed.
  /// @param modules names of the base's modules.
  /// @return every module of the base with the adapter's own name for it, or nothing if no name was changed.
  std::vector<RenamedModule> align(const std::vector<std::string>& modules);

 private:
  std::filesystem::path weights_file_;
  Json config_;
  std::map<std::string, std::string> metadata_;
  std::map<std::string, AdapterTensor> tensors_;
};

/// The weights file of an adapter folder: adapter_model.safetensors, else adapter_model.bin, else that of the adapters library. Throws
/// model Error if it has none of them.
std::filesystem::path adapter_weights_file(const std::filesystem::path& folder);

/// Metadata of the weights file; empty for a file of torch.save.
std::map<std::string, std::string> adapter_metadata(const std::filesystem::path& folder);

/// The tensors of modules that were trained whole, such as a head, by name: in PEFT's layout they are among the adapter's tensors, in the
/// adapters library's in a file of their own.
std::map<std::string, Tensor> stored_modules(const std::filesystem::path& folder);

}  // namespace lora::peft
