#pragma once
#include <string>

#include "data/line_reader.h"
#include "lora/data/rows.h"

namespace lora::data {

/// Rows of JSON Lines. An array of rows (reported in a log line) and objects over several lines each are accepted too.
void find_json_lines(LineReader& lines, const PendingRowSink& sink, const Consumed& consumed);

/// Rows of a .json file's text: an array, JSON Lines, or one object, which may hold the rows under one of its keys (reported in a log
/// line). Throws data Error for an object with several such keys.
void find_in_json(const std::string& text, const std::string& name, const PendingRowSink& sink, const Consumed& consumed);

}  // namespace lora::data
