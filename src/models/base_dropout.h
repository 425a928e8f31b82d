#pragma once
#include <string>

#include "lora/base/json.h"

namespace lora::models {

/// The rate of one of the base's own dropouts: config.json's `key`, one of kDropoutKeys (an error of the program if not).
/// Throws model Error unless 0 ≤ rate < 1.
double read_dropout(const JsonReader& config, const std::string& key, double fallback);

/// config.json with every rate of dropout in it, given or not, at `rate`: what `model.base_dropout` asks for.
Json with_base_dropout(Json config, double rate);

}  // namespace lora::models
