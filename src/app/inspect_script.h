#pragma once
#include <filesystem>
#include <string>

#include "lora/base/json.h"

namespace lora::app {

/// Describes the archive of a TorchScript file without loading it.
Json script_facts(const std::filesystem::path& file);
/// Loads the file, which runs its code, and adds forward's arguments and the weights: shapes, hosts, and why a weight cannot be adapted.
void add_script_weights(const std::filesystem::path& file, Json& facts);
std::string script_text(const Json& facts, bool colour);

}  // namespace lora::app
