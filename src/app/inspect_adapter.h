#pragma once
#include <filesystem>
#include <string>

#include "lora/base/json.h"

namespace lora::app {

/// What an adapter is: config, method, and of each module rank, scale, norms, singular values and effective rank. Throws
/// model Error for a damaged one.
Json adapter_facts(const std::filesystem::path& path);
/// The same for people, with a heat map of the updates' norms.
std::string adapter_text(const Json& facts, bool colour);

/// How two adapters differ: keys of their configs, modules that one alone has, and how far the updates of the others are
/// apart.
Json difference_facts(const std::filesystem::path& first, const std::filesystem::path& second);
std::string difference_text(const Json& facts, bool colour);

}  // namespace lora::app
