#pragma once
#include <optional>

#include "lora/data/dataset.h"
#include "lora/models/base_model.h"
#include "lora/train/options.h"

// Rows that a TorchScript module is given whole.
namespace lora::app {

/// Whether the model is given rows whole for that objective, in place of learning their tokens.
bool takes_rows_whole(const models::ModelOptions& model, train::ObjectiveKind objective);

/// Makes targets what the objective takes them for, before the module is loaded: values of a regression; to a module's own loss what its
/// adapter was trained on (`known`), else what the first set has: classes by name, by number, or values. Returns which of them, for the
/// adapter's file; none where another objective says it, or rows have no target. `second` may be null. Throws data Error, file:line, also
/// for a row without a target where the objective needs one and `need_targets` is true.
std::optional<data::LabelSet> settle_targets(data::Dataset& first, data::Dataset* second, train::ObjectiveKind objective,
                                             const std::optional<data::LabelSet>& known, bool need_targets = true);

/// Loads the module for these rows, and looks whether it knows their ids and takes the longest of them. `second` may be null.
models::BaseModel load_row_base(const models::ModelOptions& model, const data::Dataset& first, const data::Dataset* second,
                                train::ObjectiveKind objective);

/// What the classes are that a module scores: those of its adapter (`known`), else by name in sorted order, else by number. Throws
/// data Error where the rows have no classes, or names of another number of them, and model Error where it gives one value a row.
data::LabelSet row_labels(const data::Dataset& rows, const nn::Model& model, const std::optional<data::LabelSet>& known);

}  // namespace lora::app
