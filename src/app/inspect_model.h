#pragma once
#include <filesystem>
#include <string>

#include "lora/base/json.h"

namespace lora::app {

/// What a model folder holds, by config.json and the headers of its weights: family, shapes, dtypes, and the modules that
/// an adapter can be attached to. No weight is read. Throws model Error for a damaged folder; a family that this version
/// does not know is no error.
Json model_facts(const std::filesystem::path& folder);
std::string model_text(const Json& facts, bool colour);

}  // namespace lora::app
