#pragma once
#include "lora/data/dataset.h"
#include "torchscript/script_row_model.h"

namespace lora::torchscript {

/// Runs require_working_adapters on some of the rows, and checks that the result of a row is independent of the others, in training too.
/// Throws model Error if it depends on the other rows of the batch (batch normalisation), or if a loss is not a mean over rows or
/// supervised tokens. Sets what it finds out on the model: the number of outputs, what its loss is a mean over, whether padding affects the
/// results.
/// @param longest the length of the longest document that the model will get.
void require_sound_rows(ScriptRowModel& model, const data::Dataset& rows, int64_t longest);

}  // namespace lora::torchscript
