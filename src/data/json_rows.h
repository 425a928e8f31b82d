#pragma once
#include <string>

#include "data/line_reader.h"
#include "lora/data/rows.h"

namespace lora::data {

/// Rows of JSON Lines. One array of rows is read too, with a line that says so, and objects that take several lines each.
void find_json_lines(LineReader& lines, const PendingRowSink& sink, const Consumed& consumed);

/// Rows of a .json file's text: an array, JSON Lines, or one object; in that the rows may stand under one of its keys, which a
/// line names. Throws data Error for an object with several such keys.
void find_in_json(const std::string& text, const std::string& name, const PendingRowSink& sink, const Consumed& consumed);

}  // namespace lora::data
