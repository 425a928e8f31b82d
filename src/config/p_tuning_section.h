#pragma once
#include <filesystem>

#include "config/adapter_entry.h"

// P-tuning's functions for the table of adapter_section.cpp.
namespace lora::config {

AdapterSection read_p_tuning_section(const Json& section, const ConfigPlace& at, const Context& context);
peft::MethodOptions read_stored_p_tuning(const Json& config, const std::filesystem::path& folder, const ConfigPlace& file);
Json p_tuning_schema();

}  // namespace lora::config
