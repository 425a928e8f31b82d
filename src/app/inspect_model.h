#pragma once
#include <filesystem>
#include <string>

#include "lora/base/json.h"

namespace lora::app {

/// Describes a model folder from config.json and the headers of its weight files, without reading weights: family, shapes, dtypes, and the
/// modules that an adapter can be attached to. Throws model Error for a damaged folder; an unknown family is not an error.
Json model_facts(const std::filesystem::path& folder);
std::string model_text(const Json& facts, bool colour);

}  // namespace lora::app
