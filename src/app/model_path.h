#pragma once
#include <string>

#include "lora/models/options.h"

namespace lora::app {

/// Throws model Error where there is no model that could be opened: nothing at the path (with the nearest folder beside it), a file
/// that is no TorchScript module, an adapter, a folder without config.json.
/// @param where what named it: "model.path", "--model".
void require_model(const models::ModelOptions& options, const std::string& where);

/// Only that there is something at the path.
void require_path(const models::ModelOptions& options, const std::string& where);

}  // namespace lora::app
