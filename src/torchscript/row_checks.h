#pragma once
#include "lora/data/dataset.h"
#include "script_row_model.h"

namespace lora::torchscript {

/// check_adapters on some of the rows, and whether a row's result is its own, in training too: throws model Error where it depends on
/// the other rows of the batch (batch normalisation), or where a loss is no mean over rows or supervised tokens. Tells the model what it
/// finds out: how many outputs it has, what its loss is a mean over, whether padding counts.
/// @param longest of all documents that it will be given.
void check_rows(ScriptRowModel& model, const data::Dataset& rows, int64_t longest);

}  // namespace lora::torchscript
