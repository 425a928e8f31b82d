#pragma once
#include <vector>

#include "lora/peft/options.h"
#include "peft/module_names.h"

namespace lora::peft {

/// The options of an adapter whose modules get other names. An entry of target_modules, exclude_modules, modules_to_save,
/// trainable_token_indices or a pattern that would choose other modules by the new names than it chose by the old ones is replaced by the
/// new names of those it chose. An entry that chooses nothing by the old names is unchanged, because it may be given in the new ones.
LoraOptions renamed_options(LoraOptions options, const std::vector<RenamedModule>& modules);

/// Removes layers_to_transform and layers_pattern, also from the config that adapter_config.json is written from.
void forget_layers(LoraOptions& options);

}  // namespace lora::peft
