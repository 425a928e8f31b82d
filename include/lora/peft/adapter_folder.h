#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "lora/base/json.h"
#include "lora/io/tensors.h"

namespace lora::peft {

using at::Tensor;

/// What a tensor in an adapter's file is.
enum class TensorRole {
  kPair,       ///< part of a low-rank update: lora_A, lora_B, the bias of lora_B, DoRA's magnitude
  kTokenRows,  ///< rows of the tokens in trainable_token_indices
  kTrained,    ///< of a module in modules_to_save, or a trained bias
  kBase,       ///< a tensor of the base: PEFT saves embeddings and head where they are targets or the vocabulary was resized
};

struct AdapterTensor {
  std::string name;    ///< module and part: "model.layers.0.self_attn.q_proj.lora_A.weight", "lm_head.weight"
  std::string module;  ///< "model.layers.0.self_attn.q_proj", "lm_head"
  TensorRole role = TensorRole::kPair;
  Tensor tensor;
};

/// A module under the name that an adapter has for it, and under another one.
struct RenamedModule {
  std::string old_name;
  std::string new_name;
};

/// The one reader of PEFT adapter folders: config and tensors, under one spelling of the keys. It knows what PEFT 0.1 to 0.21 and the
/// tools on top of it write: keys with the adapter's name, with the names of PEFT's, FSDP's and torch.compile's wrappers, with a
/// doubled prefix or none, as safetensors or as adapter_model.bin.
class AdapterFolder {
 public:
  /// Throws model Error for a folder without weights, and for a file that is damaged or holds keys that are not understood, two
  /// adapters, or values that are not finite.
  explicit AdapterFolder(const std::filesystem::path& folder);

  /// adapter_config.json as it stands there; an empty object where there is none.
  const Json& config() const { return config_; }
  const std::filesystem::path& weights_file() const { return weights_file_; }
  /// Of the safetensors file.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  /// By name.
  const std::map<std::string, AdapterTensor>& tensors() const { return tensors_; }
  const Tensor* find(const std::string& name) const;

  /// Gives modules that the base does not have the base's names, if one change of the names' beginning does it for all of them (an
  /// adapter of the body only, or of a model around this one), and logs it. Otherwise nothing is changed.
  /// @param modules names of the base's modules.
  /// @return every module of the base with the adapter's own name for it, or nothing if no name was changed.
  std::vector<RenamedModule> align(const std::vector<std::string>& modules);

 private:
  std::filesystem::path weights_file_;
  Json config_;
  std::map<std::string, std::string> metadata_;
  std::map<std::string, AdapterTensor> tensors_;
};

/// The weights' file of an adapter's folder: adapter_model.safetensors, else adapter_model.bin. Throws model Error if it has neither.
std::filesystem::path adapter_weights_file(const std::filesystem::path& folder);

/// Metadata of that file; adapter_model.bin has none.
std::map<std::string, std::string> adapter_metadata(const std::filesystem::path& folder);

/// The name of a trained tensor as AdapterFolder has it, from the key that PEFT writes.
std::string adapter_tensor_name(std::string key);

}  // namespace lora::peft
