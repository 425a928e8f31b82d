#pragma once
#include <memory>
#include <string>

#include "lora/peft/adapter.h"
#include "lora/peft/adapter_folder.h"
#include "lora/peft/method.h"

namespace lora::peft {

/// One method of adapting a model. The table of all methods is in methods.cpp.
struct MethodEntry {
  const char* peft_type;                      ///< its name in adapter_config.json
  bool (*owns)(const MethodOptions& options);  ///< whether the options are this method's; the other functions may only be called with those
  std::unique_ptr<Method> (*attach)(const MethodOptions& options, nn::Model& model, const BaseReference& base, uint64_t seed,
                                    const std::string& adapter_name);
  void (*require_matching_targets)(const MethodOptions& options, nn::Model& model);
  bool (*changes_base)(const MethodOptions& options);
  /// Reads a stored adapter as changes of weights, for merging, inspecting, converting and combining. Null: the method does not change
  /// weights.
  Adapter (*read)(const AdapterFolder& folder, const MethodOptions& options);
  const char* no_weight_change;  ///< for a method without read: what it does instead ("adds keys and values to attention")
};

/// The entry of the options' method. They must not be those of full fine-tuning.
const MethodEntry& method_entry(const MethodOptions& options);

}  // namespace lora::peft
