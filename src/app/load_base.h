#pragma once
#include "lora/models/base_model.h"

namespace lora::app {

/// Loads the base model that the options name: a Hugging Face folder (models::load_base_model) or a TorchScript file
/// (torchscript::load_model). Throws what these throw.
models::BaseModel load_base(const models::ModelOptions& options, uint64_t seed);

}  // namespace lora::app
