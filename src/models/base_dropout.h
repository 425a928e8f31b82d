#pragma once
#include <string>

#include "lora/base/json.h"

namespace lora::models {

/// The rate of one of the base's own dropouts: config.json's `key`, one of kDropoutKeys (otherwise a programming error).
/// Throws model Error unless 0 ≤ rate < 1.
double read_dropout(const JsonReader& config, const std::string& key, double fallback);

/// config.json with every dropout rate, whether given or not, set to `rate`: for `model.base_dropout`.
Json with_base_dropout(Json config, double rate);

}  // namespace lora::models
