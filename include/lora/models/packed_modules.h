#pragma once
#include <string>
#include <vector>

#include "lora/models/options.h"

namespace lora::models {

/// The projections of the options' model that would be quantised while it is loaded, by name, without reading weights. Throws model
/// Error for a folder that is no model.
std::vector<std::string> packed_modules(const ModelOptions& options);

}  // namespace lora::models
