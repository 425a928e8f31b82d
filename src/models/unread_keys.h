#pragma once
#include <string>
#include <vector>

#include "lora/base/json_access.h"

namespace lora::models {

/// The keys of a config.json that nobody read in building its model, and of which transformers does not make a number either; as
/// paths, in the file's order.
std::vector<std::string> unread_keys(const Json& config, const JsonAccess& access, const std::string& model_type);

/// Warns of them in one line, if there are any that ask for something: whose value is not null, false or empty.
void warn_of_unread_keys(const std::vector<std::string>& keys, const Json& config, const std::string& where);

}  // namespace lora::models
