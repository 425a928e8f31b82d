#pragma once
#include "lora/models/base_model.h"

namespace lora::torchscript {

/// Loads a TorchScript module as a base model that gives logits. The archive is checked, then the file is loaded and tried in a
/// child process, then here. The checks of a small forward pass are always made: the lowered graph gives the module's bits, an
/// adapter at each host does what a change of its weight does, and gradients reach it.
/// Throws config Error without `trust_torchscript`, before anything is loaded, and model Error for a file that cannot be
/// loaded, a module that cannot be adapted, or one that fails a check.
models::BaseModel load_model(const models::ModelOptions& options);

}  // namespace lora::torchscript
