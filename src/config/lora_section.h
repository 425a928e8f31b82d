#pragma once
#include <filesystem>

#include "config/adapter_entry.h"

// LoRA's functions for the table of adapter_section.cpp.
namespace lora::config {

AdapterSection read_lora_section(const Json& section, const ConfigPlace& at, const Context& context);
peft::MethodOptions read_stored_lora(const Json& config, const std::filesystem::path& folder, const ConfigPlace& file);
Json lora_schema();

}  // namespace lora::config
