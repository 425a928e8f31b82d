#pragma once
#include <optional>
#include <string>
#include <vector>

#include "lora/base/json.h"
#include "lora/peft/adapter_folder.h"

namespace lora::peft {

/// A key of an adapter's file, taken apart.
struct AdapterKey {
  std::string module;
  std::string part;  ///< "lora_A.weight", "token_adapter.trainable_tokens_delta", "weight"
  TensorRole role = TensorRole::kPair;
  /// A second copy under the name of one of PEFT's wrappers: it counts only where there is no other.
  bool is_copy = false;
  /// Nothing that a forward pass uses: the base's own values of something that is trained.
  bool is_idle = false;

  std::string name() const { return module + "." + part; }
};

/// Takes keys apart as the adapter's config means them.
class AdapterKeys {
 public:
  explicit AdapterKeys(const Json& config);

  /// The name of the adapter in a key such as `….lora_A.default.weight`; empty: it has none.
  static std::string adapter_name(const std::string& key);
  /// Keys of this adapter, where names are part of them.
  void set_adapter_name(std::string name) { adapter_name_ = std::move(name); }

  /// None: the key is not understood.
  std::optional<AdapterKey> parse(const std::string& key) const;

 private:
  std::optional<AdapterKey> parse_whole(std::vector<std::string> path) const;
  bool is_saved(const std::string& module) const;

  std::string adapter_name_ = "default";
  bool trains_biases_ = false;
  std::vector<std::string> saved_;  ///< modules_to_save, and the heads that the task adds to them
};

}  // namespace lora::peft
