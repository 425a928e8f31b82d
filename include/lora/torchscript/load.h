#pragma once
#include "lora/data/dataset.h"
#include "lora/models/base_model.h"

namespace lora::torchscript {

/// Loads a TorchScript module as a base model that gives logits. The archive is checked, then the file is loaded and tried in a
/// child process, then here. The checks of a small forward pass are always made: the lowered graph gives the module's bits, an
/// adapter at each host does what a change of its weight does, and gradients reach it.
/// Throws config Error without `trust_torchscript`, before anything is loaded, and model Error for a file that cannot be
/// loaded, a module that cannot be adapted, or one that fails a check.
models::BaseModel load_model(const models::ModelOptions& options);

/// Loads a TorchScript module as a base model that is given rows whole (nn::RowModel): documents or features, as `rows` are. Some of
/// them are what the checks run it on, which are those of load_model, and that a row's result does not depend on the others of its
/// batch. `gives_loss`: its result is their mean loss, in place of a prediction of each. `second`: others that it will be given, null:
/// none. Throws what load_model throws, and data Error, file:line, for a row of either set without the target that the module is given,
/// or with an id that its table does not have.
models::BaseModel load_row_model(const models::ModelOptions& options, const data::Dataset& rows, bool gives_loss,
                                 const data::Dataset* second = nullptr);

}  // namespace lora::torchscript
