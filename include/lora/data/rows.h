#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "data/byte_source.h"
#include "lora/base/json.h"
#include "lora/data/options.h"

namespace lora::data {

/// The name of stdin (the path "-") in messages.
inline constexpr const char* kStdinName = "stdin";

/// The supported kinds of files.
enum class FileKind { kJsonLines, kJsonArray, kCsv, kText };

/// One row: an object, with the file and line where it starts.
struct Row {
  Json object;
  std::string origin;  ///< "file:line"
  bool cells = false;  ///< from a CSV file: every value is a string
  int64_t line = 0;
};

/// Receives a row; returns false to stop reading.
using RowSink = std::function<bool(const Row& row)>;

/// A row that was found but not parsed yet: parsing takes longer, and any thread can do it.
struct PendingRow {
  std::function<Row()> parse;  ///< call it once; throws data Error
  size_t bytes = 0;            ///< approximate size of the row
};

/// Receives a row that was found; returns false to stop reading.
using PendingRowSink = std::function<bool(PendingRow row)>;

/// The kind by the extension (.jsonl .json .csv .txt, each also with .gz; "-" and a pipe with another name are JSON Lines); nothing for
/// any other.
std::optional<FileKind> file_kind(const std::string& path);
/// The supported extensions, for messages.
std::string known_endings();

/// Finds the rows of one file ("-": stdin) in order; returns the SHA-256 of the file's bytes. An error in a row is thrown by its
/// parse(), an error in the text between rows immediately.
std::string find_rows(const std::string& path, FileKind kind, const PendingRowSink& sink, const Consumed& consumed,
                      TextDocuments documents = TextDocuments::kLine);

/// Reads the rows of one file ("-": stdin) in order; returns the SHA-256 of the file's bytes. Each line (or paragraph, or the whole
/// content) of a .txt file is a row {"text"}; blank lines between rows are skipped. Throws data Error "[file:line:column] …".
std::string read_rows(const std::string& path, FileKind kind, const RowSink& sink, TextDocuments documents = TextDocuments::kLine);

}  // namespace lora::data
