#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "lora/base/json.h"
#include "lora/data/options.h"

namespace lora::data {

/// The name of stdin (the path "-") in messages.
inline constexpr const char* kStdinName = "stdin";

/// One row: an object, with the file and line where it starts.
struct Row {
  Json object;
  std::string origin;  ///< "file:line"
  bool cells = false;  ///< from a CSV file: every value is a string
  int64_t line = 0;
};

/// Receives a row; returns false to stop reading.
using RowSink = std::function<bool(const Row& row)>;

class RowInput;
struct PendingRow;

/// Receives a row that was found; returns false to stop reading.
using PendingRowSink = std::function<bool(PendingRow row)>;

/// A supported kind of files: a line of the table in src/data/rows.cpp.
struct FileKind {
  std::string_view ending;  ///< of the names: ".jsonl", which includes ".jsonl.gz"
  bool is_plain_text;       ///< it has documents but no columns: each is a row {"text"}
  /// Finds the rows in order, until the sink stops it. An error in a row is thrown by its parse(), an error in the text between rows
  /// immediately.
  void (*find_rows)(RowInput& input, const PendingRowSink& sink);
};

/// The kind by the ending of the name ("-" and a pipe with another name are JSON Lines); null for an unknown one.
const FileKind* file_kind(const std::string& path);
/// The supported endings, for messages: ".jsonl, .json, …", with `last` before the last one.
/// @param with_text also those of plain text, whose rows have no columns.
std::string file_endings(const std::string& last = ", ", bool with_text = true);
/// The same, with a word about compressed files.
std::string known_endings();

/// Reads the rows of one file ("-": stdin) in order; returns the SHA-256 of the file's bytes. Each line (or paragraph, or the whole
/// content) of a .txt file is a row {"text"}; blank lines between rows are skipped. Throws data Error "[file:line:column] …".
std::string read_rows(const std::string& path, const FileKind& kind, const RowSink& sink, TextDocuments documents = TextDocuments::kLine);

}  // namespace lora::data
