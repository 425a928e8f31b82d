#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "lora/data/options.h"

namespace lora::data {

/// What the files of a source hold, found without encoding a row.
struct RowSurvey {
  RowFormat format = RowFormat::kText;
  std::vector<std::string> files;
  bool is_plain_text = false;                      ///< .txt files
  TextDocuments documents = TextDocuments::kLine;  ///< of .txt files: paragraphs where blank lines separate several lines
  int64_t num_rows = 0;                            ///< at most the limit
  bool has_more = false;                           ///< counting ended at the limit
};

/// Looks at the files that `path` (a file or a glob) names: the format by the columns of the first rows, and the number of rows, counted
/// up to `max_rows`. `where` names the path in errors. Throws config Error for a file of unknown kind and for standard input, which could
/// not be read again; data Error where there is no file, no row, or none with the fields of a format.
RowSurvey survey_rows(const std::string& path, int64_t max_rows, const std::string& where);

}  // namespace lora::data
