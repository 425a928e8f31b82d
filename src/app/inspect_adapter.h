#pragma once
#include <filesystem>
#include <string>

#include "lora/base/json.h"

namespace lora::app {

/// Describes an adapter: config, method, and the rank, scale, norms, singular values and effective rank of each module. Throws model Error
/// if it is damaged.
Json adapter_facts(const std::filesystem::path& path);
/// The same as text, with a heat map of the updates' norms.
std::string adapter_text(const Json& facts, bool colour);

/// Describes how two adapters differ: config keys, modules that only one of them has, and the distance of the updates of common modules.
Json difference_facts(const std::filesystem::path& first, const std::filesystem::path& second);
std::string difference_text(const Json& facts, bool colour);

}  // namespace lora::app
