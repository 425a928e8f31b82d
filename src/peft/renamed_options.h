#pragma once
#include <vector>

#include "lora/peft/options.h"
#include "peft/module_names.h"

namespace lora::peft {

/// The options of an adapter whose modules are renamed. An entry of target_modules, exclude_modules, modules_to_save,
/// trainable_token_indices or a pattern is replaced by the new names of the modules that it chose if it would choose others among the new
/// names. An entry that chooses nothing among the old names is unchanged, because it may already be a new name.
LoraOptions renamed_options(LoraOptions options, const std::vector<RenamedModule>& modules);

/// Removes layers_to_transform and layers_pattern, also from the config that adapter_config.json is written from.
void forget_layers(LoraOptions& options);

}  // namespace lora::peft
