#pragma once
#include <filesystem>

#include "config/adapter_entry.h"

// The functions of bottleneck adapters for the table of adapter_section.cpp.
namespace lora::config {

AdapterSection read_bottleneck_section(const Json& section, const ConfigPlace& at, const Context& context);
peft::MethodOptions read_stored_bottleneck(const Json& config, const std::filesystem::path& folder, const ConfigPlace& file);
Json bottleneck_schema();

/// The adapter_config.json of the adapters library with its keys at the top and our peft_type; any other config as it is.
Json with_library_keys(const Json& config);

}  // namespace lora::config
