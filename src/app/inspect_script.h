#pragma once
#include <filesystem>
#include <string>

#include "lora/base/json.h"

namespace lora::app {

/// What the archive of a TorchScript file says; nothing of it is loaded.
Json script_facts(const std::filesystem::path& file);
/// Loads the file, which runs its code, and adds forward's arguments and weights: shapes, hosts, which can be adapted and why not.
void add_script_weights(const std::filesystem::path& file, Json& facts);
std::string script_text(const Json& facts, bool colour);

}  // namespace lora::app
