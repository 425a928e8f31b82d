#pragma once
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "data/formats.h"
#include "lora/data/dataset.h"
#include "lora/data/rows.h"

namespace lora::data {

/// What a row has become.
struct EncodedRow {
  std::vector<Example> examples;             ///< none where it is left out; several where it is split; without file and weight
  int64_t line = 0;                          ///< where it stands in its file
  RowLabel label;                            ///< of the whole row
  bool overlong = false;                     ///< it is longer than max_length
  bool skipped = false;                      ///< nothing of it is supervised
  bool is_message_pair = false;              ///< its prompt and completion are messages
  std::vector<std::string> watched_columns;  ///< those of RowEncoder's that it has
  std::vector<std::string> unused_columns;   ///< those that its format does not use
};

/// Makes examples of the rows of one source. Any number of threads may use it at once.
class RowEncoder {
 public:
  /// `watched`: columns whose occurrence is reported. The references must outlive the encoder.
  RowEncoder(const SourceOptions& source, const DataOptions& options, const LoadContext& context, std::set<std::string> watched);

  /// Throws data Error for a row that is malformed, or too long where that is an error.
  EncodedRow encode(const PendingRow& pending) const;

 private:
  void check_ids(const std::vector<int32_t>& ids, const std::string& origin) const;
  void fit(Document document, const std::string& origin, EncodedRow& row) const;
  /// Makes parts of max_length tokens. False: none of them is supervised.
  bool split(const Document& document, EncodedRow& row) const;
  bool keep(const std::vector<int32_t>& ids, const std::vector<int32_t>& labels, const Document& document, EncodedRow& row) const;

  const SourceOptions& source_;
  const DataOptions& options_;
  const LoadContext& context_;
  const Format& format_;
  std::unique_ptr<ChatEncoder> chat_;  ///< null where no chat template writes the rows
  FormatContext format_context_;
  std::set<std::string> watched_;
};

}  // namespace lora::data
