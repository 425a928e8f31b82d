#pragma once
#include <string>

#include "lora/models/options.h"
#include "lora/train/options.h"

namespace lora::app {

/// Throws model Error if there is no model at the path: nothing (suggesting the nearest name there), a file that is not a TorchScript
/// module, an adapter, or a folder without config.json.
/// @param where the key or flag that named it: "model.path", "--model".
/// @param objective what the model is opened for: a pipeline is checked when it is opened.
void require_model(const models::ModelOptions& options, const std::string& where,
                   train::ObjectiveKind objective = train::ObjectiveKind::kCausalLm);

/// Only checks that the path exists.
void require_path(const models::ModelOptions& options, const std::string& where);

}  // namespace lora::app
