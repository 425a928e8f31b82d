#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "data/byte_source.h"
#include "lora/base/json.h"
#include "lora/data/options.h"

namespace lora::data {

/// What stdin, the path "-", is called in messages.
inline constexpr const char* kStdinName = "stdin";

/// The kinds of files that rows are read from.
enum class FileKind { kJsonLines, kJsonArray, kCsv, kText };

/// One row: an object, and the file and line where it starts.
struct Row {
  Json object;
  std::string origin;  ///< "file:line"
  bool cells = false;  ///< from a CSV file: every value is a string
  int64_t line = 0;
};

/// Takes a row; false ends the reading.
using RowSink = std::function<bool(const Row& row)>;

/// A row that was found and is yet to be parsed: that takes longer, and any thread can do it.
struct PendingRow {
  std::function<Row()> parse;  ///< to be called once; throws data Error
  size_t bytes = 0;            ///< about what it holds
};

/// Takes a row that was found; false ends the reading.
using PendingRowSink = std::function<bool(PendingRow row)>;

/// The kind by the end of the name (.jsonl .json .csv .txt, each also with .gz; "-" and a pipe of another name are JSON lines), nothing for
/// another.
std::optional<FileKind> file_kind(const std::string& path);
/// The endings there are, for messages.
std::string known_endings();

/// Finds the rows of one file ("-": of stdin) in order; returns the SHA-256 of the file's bytes. What is wrong with a row
/// itself is thrown by its parse(), what is wrong with the text between them at once.
std::string find_rows(const std::string& path, FileKind kind, const PendingRowSink& sink, const Consumed& consumed,
                      TextDocuments documents = TextDocuments::kLine);

/// Reads the rows of one file ("-": of stdin) in order; returns the SHA-256 of the file's bytes. A line (or paragraph, or the whole)
/// of a .txt is a row {"text"}; blank lines between them are skipped. Throws data Error "[file:line:column] …".
std::string read_rows(const std::string& path, FileKind kind, const RowSink& sink, TextDocuments documents = TextDocuments::kLine);

}  // namespace lora::data
