#pragma once
#include <filesystem>

#include "config/findings.h"
#include "lora/base/json.h"
#include "lora/peft/options.h"

namespace lora::config {

/// PEFT before 0.15 had other rules for the names in target_modules, rank_pattern and alpha_pattern. Restates those of an adapter that it
/// wrote, so that they choose the same modules by today's rules, and logs a line if that changes them.
/// @param config adapter_config.json as stored in `folder`.
/// @param options read from it.
void restate_old_names(const Json& config, const std::filesystem::path& folder, peft::LoraOptions& options, const ConfigPlace& file);

}  // namespace lora::config
