#pragma once
#include <filesystem>

#include "config/adapter_entry.h"

// Prompt tuning's functions for the table of adapter_section.cpp.
namespace lora::config {

AdapterSection read_prompt_section(const Json& section, const ConfigPlace& at, const Context& context);
peft::MethodOptions read_stored_prompt(const Json& config, const std::filesystem::path& folder, const ConfigPlace& file);
Json prompt_schema();

}  // namespace lora::config
