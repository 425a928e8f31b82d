#pragma once
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "data/formats.h"
#include "data/row_input.h"
#include "lora/data/dataset.h"

namespace lora::data {

/// The result of encoding a row.
struct EncodedRow {
  std::vector<Example> examples;             ///< none if it is dropped, several if it is split; without file and weight
  int64_t line = 0;                          ///< of its file
  RowLabel label;                            ///< of the whole row
  bool overlong = false;                     ///< longer than max_length
  bool skipped = false;                      ///< without any supervised token
  bool is_message_pair = false;              ///< prompt and completion are messages
  std::vector<std::string> watched_columns;  ///< the watched columns that it has
  std::vector<std::string> unused_columns;   ///< the columns that its format does not use
};

/// A part of a document: its tokens from `begin` to `end`, after the document's first one if that is repeated.
struct DocumentPart {
  int64_t begin;
  int64_t end;
  bool repeats_first = false;
};

/// Encodes the rows of one source to examples. Thread-safe.
class RowEncoder {
 public:
  /// `watched`: columns whose occurrence is reported. The references must outlive this.
  RowEncoder(const SourceOptions& source, const DataOptions& options, const LoadContext& context, std::set<std::string> watched);

  /// Throws data Error for a malformed row, and for one that is too long if that is an error.
  EncodedRow encode(const PendingRow& pending) const;
  /// Adds the examples of a row's content, to which the options are applied.
  void add(EncodedContent content, const std::string& origin, EncodedRow& row) const;

 private:
  using MakeExample = std::function<Example(const DocumentPart& part)>;

  void add_group(const EncodedGroup& group, const std::string& origin, EncodedRow& row) const;
  void require_valid_ids(const std::vector<int32_t>& ids, const std::string& origin) const;
  /// Whether a document of these ids is longer than max_length. Throws data Error if that is an error.
  bool is_overlong(const std::vector<int32_t>& ids, bool is_cut, const std::string& origin, EncodedRow& row) const;
  /// Applies max_length to a document of these ids; `make` makes the example of a part of it.
  void fit(const std::vector<int32_t>& ids, bool is_cut, const std::string& origin, const MakeExample& make, EncodedRow& row) const;
  /// The parts of max_length tokens.
  std::vector<DocumentPart> parts_of(const std::vector<int32_t>& ids) const;
  /// Adds an example, unless it has nothing to learn from.
  bool keep(Example example, EncodedRow& row) const;

  const SourceOptions& source_;
  const DataOptions& options_;
  const LoadContext& context_;
  const Format& format_;
  std::unique_ptr<ChatEncoder> chat_;  ///< null if no chat template writes the rows
  FormatContext format_context_;
  std::set<std::string> watched_;
};

}  // namespace lora::data
