#pragma once
#include <optional>

#include "lora/data/dataset.h"
#include "lora/models/base_model.h"
#include "lora/train/options.h"

// Rows that a TorchScript module takes whole.
namespace lora::app {

/// Converts targets to what the objective needs, before the module is loaded: values for a regression; for a module's own loss the kind
/// that its adapter was trained on (`known`), else that of the first set: classes by name, classes by number, or values. Returns this kind
/// for the adapter's file; none if the objective determines it, or rows have no target. `second` may be null. Throws data Error with
/// file:line, also for a row without a target if the objective needs one and `need_targets` is true.
std::optional<data::LabelSet> settle_targets(data::Dataset& first, data::Dataset* second, train::ObjectiveKind objective,
                                             const std::optional<data::LabelSet>& known, bool need_targets = true);

/// Loads the module for these rows, and checks that it knows their ids and accepts the longest one. `second` may be null.
models::BaseModel load_row_base(const models::ModelOptions& model, const data::Dataset& first, const data::Dataset* second,
                                train::ObjectiveKind objective);

/// The classes that a module scores: those of its adapter (`known`), else the names in sorted order, else numbers. Throws data Error if the
/// rows have no classes or a different number of names, and model Error if the module returns one value per row.
data::LabelSet row_labels(const data::Dataset& rows, const nn::Model& model, const std::optional<data::LabelSet>& known);

}  // namespace lora::app
