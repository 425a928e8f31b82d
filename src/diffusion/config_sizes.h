#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "lora/base/json.h"
#include "lora/base/json_access.h"

namespace lora::diffusion {

/// Whether a value is a size: an integer from 1 to 2^24. A larger one means a damaged file.
bool is_config_size(const Json& value);
/// The size at `key` of a config, or `fallback` if it has none. Throws model Error for anything else.
int64_t config_size(const JsonReader& config, const std::string& key, int64_t fallback);
/// block_out_channels, of 1 to 16 resolutions from the finest, or `fallback` if the config has none. Throws model Error for anything else.
std::vector<int64_t> config_channels(const JsonReader& config, const std::vector<int64_t>& fallback);

/// Warns of keys that no reader asked for. @param name of diffusers' class, whose keys all have been asked for.
void warn_of_unread_keys(const Json& config, const std::string& where, const JsonAccess& access, const std::string& name);

}  // namespace lora::diffusion
