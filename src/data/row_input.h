#pragma once
#include <functional>
#include <optional>
#include <string>

#include "data/byte_source.h"
#include "data/line_reader.h"
#include "lora/data/rows.h"

namespace lora::data {

/// A row that was found but not parsed yet: parsing takes longer, and any thread can do it.
struct PendingRow {
  std::function<Row()> parse;  ///< call it once; throws data Error
  size_t bytes = 0;            ///< approximate size of the row
};

/// What the reader of a kind of files gets: the bytes of one file, decompressed, and its name in messages.
class RowInput {
 public:
  /// A file; `consumed` is told how much of it has been read.
  RowInput(const std::string& path, Consumed consumed, TextDocuments documents)
      : name_(path), consumed_(std::move(consumed)), documents_(documents) {}
  /// The text of an input that can be read only once.
  RowInput(std::string name, std::string text, Consumed consumed, TextDocuments documents)
      : name_(std::move(name)), text_(std::move(text)), consumed_(std::move(consumed)), documents_(documents) {}

  const std::string& name() const { return name_; }
  /// The unit of a plain text that is one document.
  TextDocuments documents() const { return documents_; }
  /// The lines, one after the other. This must outlive them.
  LineReader lines() const { return {text_ ? bytes_of(*text_) : open_file(name_, consumed_), name_}; }
  /// All bytes at once, at most 4 GiB; once. The reader tells `consumed` itself, as parsing takes longer than reading.
  std::string take_all() { return text_ ? std::move(*text_) : read_all(open_file(name_, [](int64_t) {}), name_); }
  const Consumed& consumed() const { return consumed_; }

 private:
  std::string name_;
  std::optional<std::string> text_;  // none: the file is read
  Consumed consumed_;
  TextDocuments documents_;
};

/// Finds the rows of one file ("-": stdin) in order; returns the SHA-256 of the file's bytes. Throws as FileKind::find_rows.
std::string find_rows(const std::string& path, const FileKind& kind, const PendingRowSink& sink, const Consumed& consumed,
                      TextDocuments documents = TextDocuments::kLine);

}  // namespace lora::data
