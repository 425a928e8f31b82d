#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "lora/base/json.h"

namespace lora::data {

/// The kinds of files that rows are read from.
enum class FileKind { kJsonLines, kJsonArray, kCsv, kText };

/// One row: an object, and the file and line where it starts.
struct Row {
  Json object;
  std::string origin;  ///< "file:line"
  bool cells = false;  ///< from a CSV file: every value is a string
};

/// Takes a row; false ends the reading.
using RowSink = std::function<bool(const Row& row)>;

/// The kind by the end of the name (.jsonl .json .csv .txt, each also with .gz; "-" is JSON lines), nothing for another.
std::optional<FileKind> file_kind(const std::string& path);
/// The endings there are, for messages.
std::string known_endings();

/// Reads the rows of one file ("-": of stdin) in order; returns the SHA-256 of the file's bytes. A line of a .txt is a row
/// {"text"}; blank lines are skipped. Throws data Error "[file:line:column] …".
std::string read_rows(const std::string& path, FileKind kind, const RowSink& sink);

}  // namespace lora::data
