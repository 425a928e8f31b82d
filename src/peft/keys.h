#pragma once
#include <optional>
#include <string>
#include <vector>

#include "lora/base/json.h"
#include "lora/nn/parameter.h"
#include "lora/peft/update.h"

// The grammar of the keys in an adapter's file, for writing and for reading:
//     base_model.model.<module>.<part>
// where part is that of a role ("lora_A.weight"), or, for a tensor of the base, "weight" or "bias" (ParameterRole::kWhole). Tensors are
// named without the prefix: "<module>.<part>".
namespace lora::peft {

using nn::ParameterRole;

/// The name of a module's tensor with this role, which has a part of its own: not kWhole.
std::string tensor_name(const std::string& module, ParameterRole role);

/// PEFT's key of a tensor that all modules share.
std::string shared_key(const std::string& name);

/// PEFT's key of a tensor, from its name.
std::string file_key(const std::string& name);

/// The parts of a key in an adapter's file.
struct AdapterKey {
  std::string module;
  std::string part;  ///< "lora_A.weight", "token_adapter.trainable_tokens_delta", "weight"
  ParameterRole role = ParameterRole::kWhole;
  /// A tensor of the base that PEFT saves with the adapter, not a trained one.
  bool of_base = false;
  /// A second copy under the name of one of PEFT's wrappers, used only if there is no other.
  bool is_copy = false;
  /// Not used by a forward pass: the base's values of a trained tensor.
  bool is_idle = false;

  /// Without a module: a tensor that all modules share (VeRA's pair).
  std::string name() const { return module.empty() ? part : module + "." + part; }
};

/// The wrapper of LN tuning around a module's trained copy (HeldTensor::wrapper).
inline constexpr const char* kLnTuningWrapper = ".ln_tuning_layers";

/// The key of token rows as PEFT's TRAINABLE_TOKENS writes it, which wraps no module: without LoRA's "token_adapter".
std::string unwrapped_rows_key(const std::string& key);

/// Splits keys according to the adapter's config. It understands every spelling that AdapterFolder lists.
class AdapterKeys {
 public:
  explicit AdapterKeys(const Json& config);

  /// The name of the adapter in a key such as `….lora_A.default.weight`; empty: it has none.
  static std::string adapter_name(const std::string& key);
  /// Sets the adapter's name, for keys that contain it.
  void set_adapter_name(std::string name) { adapter_name_ = std::move(name); }

  /// Returns nothing for an unknown key.
  std::optional<AdapterKey> parse(const std::string& key) const;

 private:
  std::optional<AdapterKey> parse_whole(std::vector<std::string> path) const;
  bool is_saved(const std::string& module) const;

  std::string adapter_name_ = "default";
  bool trains_biases_ = false;
  bool is_adalora_ = false;
  std::vector<std::string> saved_;  ///< modules_to_save and the heads that the task adds
};

}  // namespace lora::peft
