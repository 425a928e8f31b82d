#pragma once
#include <string>
#include <vector>

#include "lora/base/json_access.h"

namespace lora::models {

/// The keys of a config.json that building its model did not read and that transformers does not compute with either, as paths in the
/// file's order. `idle_keys` are those of the family: Family::idle_keys.
std::vector<std::string> unread_keys(const Json& config, const JsonAccess& access, const std::vector<std::string>& idle_keys);

/// Warns in one line of those that have an effect if used, that is, whose value is not null, false or empty.
void warn_of_unread_keys(const std::vector<std::string>& keys, const Json& config, const std::string& where);

}  // namespace lora::models
