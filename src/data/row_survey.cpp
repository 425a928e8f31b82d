#include "lora/data/row_survey.h"

#include <algorithm>
#include <optional>

#include "data/formats.h"
#include "data/paths.h"
#include "data/row_format.h"
#include "data/row_input.h"
#include "lora/base/error.h"
#include "lora/base/input_file.h"
#include "lora/base/interrupt.h"
#include "lora/base/text.h"
#include "lora/data/rows.h"

namespace lora::data {
namespace {

constexpr int64_t kRowsSniffed = 20;  // more than one, because a column may be empty in the first rows
constexpr double kWrapped = 1.5;      // with this many lines per paragraph, the lines are assumed to be wrapped

const SourceOptions kDefaultSource;

std::optional<RowFormat> format_of_row(const Row& row) {
  return find_format(Fields(row, kDefaultSource));
}

/// "messages (messages), prompt_completion (prompt, completion), …"
std::string known_formats() {
  std::vector<std::string> formats;
  for (const auto& entry : kRowFormats.entries) {
    formats.push_back(std::string(entry.name) + " (" + join(format_of(entry.value).required) + ")");
  }
  return join(formats);
}

[[noreturn]] void fail_unknown(const Row& row) {
  const std::vector<std::string> columns = Fields(row, kDefaultSource).columns();
  data_error(row.origin, "the format of the rows cannot be told by their columns: found " +
                             (columns.empty() ? "none" : join(columns, ", ", 6)) + ", expected those of " + known_formats() +
                             ". Rename the columns, or write a config whose data.train[].columns names them.");
}

const FileKind& surveyed_kind(const std::string& path, const std::string& where) {
  const FileKind* const kind = file_kind(path);
  if (path == "-" || is_pipe(path)) {
    config_error(where, "found '" + path + "', which can be read only once, expected a file: the run reads it again");
  }
  if (kind == nullptr) {
    config_error(where, "the kind of the file " + path + " is unknown: expected a name ending in " + known_endings());
  }
  return *kind;
}

/// Adds the rows of one file to `survey`, and returns their format, if it is found.
class Surveyor {
 public:
  explicit Surveyor(int64_t max_rows) : max_rows_(max_rows) {}

  void add(const std::string& path, const FileKind& kind, TextDocuments documents) {
    if (num_rows_ > max_rows_) {
      return;
    }
    const auto take = [this](const PendingRow& pending) {
      throw_if_interrupted();
      if (!format_ && num_rows_ < kRowsSniffed) {
        sniff(pending.parse());
      }
      return ++num_rows_ <= max_rows_;
    };
    find_rows(
        path, kind, take, [](int64_t) {}, documents);
  }
  int64_t num_rows() const { return num_rows_; }
  RowFormat format(const std::string& where) const {
    if (!first_) {
      data_error(where, "no row is found. Check the file.");
    }
    if (!format_) {
      fail_unknown(*first_);
    }
    return *format_;
  }

 private:
  void sniff(Row row) {
    format_ = format_of_row(row);
    if (!first_) {
      first_ = std::move(row);
    }
  }

  int64_t max_rows_;
  int64_t num_rows_ = 0;
  std::optional<RowFormat> format_;
  std::optional<Row> first_;
};

Surveyor survey(const std::vector<std::string>& files, int64_t max_rows, TextDocuments documents, const std::string& where) {
  Surveyor surveyor(max_rows);
  for (const std::string& file : files) {
    surveyor.add(file, surveyed_kind(file, where), documents);
  }
  return surveyor;
}

}  // namespace

RowSurvey survey_rows(const std::string& path, int64_t max_rows, const std::string& where) {
  RowSurvey result;
  result.files = expand_path(path);
  result.is_plain_text = surveyed_kind(result.files.front(), where).is_plain_text;
  const Surveyor lines = survey(result.files, max_rows, TextDocuments::kLine, where);
  result.format = lines.format(where);
  result.num_rows = lines.num_rows();
  if (result.is_plain_text) {
    const int64_t paragraphs = survey(result.files, max_rows, TextDocuments::kParagraph, where).num_rows();
    if (paragraphs > 1 && static_cast<double>(lines.num_rows()) > kWrapped * static_cast<double>(paragraphs)) {
      result.documents = TextDocuments::kParagraph;
      result.num_rows = paragraphs;
    }
  }
  result.has_more = result.num_rows > max_rows;
  result.num_rows = std::min(result.num_rows, max_rows);
  return result;
}

}  // namespace lora::data
