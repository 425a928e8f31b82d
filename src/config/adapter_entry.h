#pragma once
#include <filesystem>

#include "config/sections.h"

namespace lora::config {

using AdapterSection = Section<peft::MethodOptions>;

/// How the config describes one method of peft. The table of all methods is in adapter_section.cpp.
struct AdapterEntry {
  const char* peft_type;
  /// Reads the `adapter` section of a run.
  AdapterSection (*read)(const Json& section, const ConfigPlace& at, const Context& context);
  /// Reads an adapter_config.json for using the adapter; `file` is the place of its keys.
  peft::MethodOptions (*read_stored)(const Json& config, const std::filesystem::path& folder, const ConfigPlace& file);
  Json (*schema)();  ///< of the section
};

}  // namespace lora::config
