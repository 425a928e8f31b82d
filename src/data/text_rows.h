#pragma once
#include "data/row_input.h"

namespace lora::data {

/// Rows {"text"} of a .txt file: its lines, its paragraphs, or the whole file.
void find_text_rows(RowInput& input, const PendingRowSink& sink);

}  // namespace lora::data
