#pragma once
#include <filesystem>

#include "config/adapter_entry.h"

// Prefix tuning's functions for the table of adapter_section.cpp.
namespace lora::config {

AdapterSection read_prefix_section(const Json& section, const ConfigPlace& at, const Context& context);
peft::MethodOptions read_stored_prefix(const Json& config, const std::filesystem::path& folder, const ConfigPlace& file);
Json prefix_schema();

}  // namespace lora::config
