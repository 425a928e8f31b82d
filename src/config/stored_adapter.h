#pragma once
#include <filesystem>

#include "config/findings.h"
#include "lora/base/json.h"
#include "lora/peft/options.h"

namespace lora::config {

/// What becomes of a saved adapter: the companions compute with it, a run trains it further.
enum class AdapterUse { kCompute, kTrain };

/// The adapter_config.json in `folder`, or null if it cannot be had, which is said at `at`.
Json read_stored_config(const std::filesystem::path& folder, const Place& at);

/// PEFT's own rules for the choice of layers (LoraConfig.__post_init__); what breaks them is said at `at`.
void check_layers(const peft::LoraOptions& options, const Place& at);

/// Whether it is LoRA's; if not, says so at `at`.
bool is_lora(const Json& config, const Place& at);

/// The keys of a saved adapter that matter: without those that this version does not know at values that ask for nothing (which is
/// said in a line; PEFT leaves unknown keys out at any value), and without those that only say how the adapter started or was
/// trained, where nothing is trained any more. An unknown key at another value is said at `at`.
Json stored_keys(const Json& config, AdapterUse use, const Place& at);

/// The options with which a saved adapter is attached to compute with it; what is wrong with its folder is said at `at`.
peft::LoraOptions read_stored_adapter(const std::filesystem::path& folder, const Place& at);

}  // namespace lora::config
