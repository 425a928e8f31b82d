#pragma once
#include "lora/data/dataset.h"
#include "lora/models/base_model.h"

namespace lora::torchscript {

/// Loads a TorchScript module as a base model that returns logits. Checks the archive, then loads and tries the file in a child process,
/// then loads it here. A small forward pass always checks that the lowered graph gives the module's bits, that an adapter at each host has
/// the effect of the same change of the weight, and that gradients reach it. Throws config Error without `trust_torchscript`, before
/// anything is loaded, and model Error for a file that cannot be loaded, or a module that cannot be adapted or fails a check.
models::BaseModel load_model(const models::ModelOptions& options);

/// Loads a TorchScript module as a base model that takes whole rows (nn::RowModel): documents or features, according to `rows`. The checks
/// of load_model run on some of the rows, and check also that a row's result does not depend on the others of its batch.
/// @param gives_loss whether the result is the mean loss of the rows instead of a prediction for each
/// @param second a second set of rows that the model will get; may be null
/// Throws what load_model throws, and data Error with file:line for a row of either set that lacks the target which the module takes, or
/// has an id that is not in its table.
models::BaseModel load_row_model(const models::ModelOptions& options, const data::Dataset& rows, bool gives_loss,
                                 const data::Dataset* second = nullptr);

}  // namespace lora::torchscript
