#pragma once
#include "data/row_input.h"

namespace lora::data {

/// Rows of JSON Lines. An array of rows (reported in a log line) and objects over several lines each are accepted too.
void find_json_lines(RowInput& input, const PendingRowSink& sink);

/// Rows of a .json file: an array, JSON Lines, or one object, which may hold the rows under one of its keys (reported in a log line).
/// Throws data Error for an object with several such keys.
void find_json_rows(RowInput& input, const PendingRowSink& sink);

}  // namespace lora::data
