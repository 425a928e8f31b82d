#pragma once
#include <string>
#include <vector>

#include "lora/base/json.h"
#include "lora/peft/adapter.h"
#include "lora/peft/options.h"

namespace lora::peft {

/// The keys of every method's adapter_config.json (PEFT's PeftConfig), and those that the config gave.
nlohmann::json shared_config(const AdapterOptions& options, const char* peft_type, const std::string& base_name);

/// The text of LoRA's adapter_config.json as PEFT writes it (keys sorted, indent 2; those of the patterns in their own order): the keys
/// that every PEFT since 0.6 knows always, others where they were given. `targets` are target_modules spelt out.
std::string adapter_config_text(const LoraOptions& options, const ModuleChoice& targets, const std::string& base_name);

/// Sets r and lora_alpha to the most frequent ones of the updates, and the patterns to the others.
void set_sizes(LoraOptions& options, const std::vector<LowRankUpdate>& updates);

/// The target modules of the options, or a list of the adapter's modules if the options have none.
ModuleChoice adapter_targets(const Adapter& adapter);

/// A whole number without ".0", because PEFT has int fields.
nlohmann::json number_json(double value);

/// A choice of modules in the form in which it was given.
nlohmann::json choice_json(const ModuleChoice& choice);

/// The text of adapter_config.json for a method that adapts modules.
/// @param config shared_config() and what the method adds.
std::string targeted_config_text(nlohmann::json config, const ModuleChoice& targets);

}  // namespace lora::peft
