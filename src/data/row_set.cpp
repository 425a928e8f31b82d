#include "data/row_set.h"

#include <ATen/Parallel.h>

#include <filesystem>
#include <optional>
#include <unordered_map>

#include "data/dense_rows.h"
#include "data/reading_progress.h"
#include "data/row_pipeline.h"
#include "lora/base/error.h"
#include "lora/base/interrupt.h"
#include "lora/base/log.h"
#include "lora/base/text.h"

namespace lora::data {
namespace {

constexpr size_t kMaxNamed = 10;   // skipped rows listed in the report
constexpr size_t kMaxUnused = 50;  // unused columns of a file that are stored

int64_t bytes_of(const PlannedFile& file) {
  std::error_code ignored;
  const auto size = file.is_read_once() ? 0 : std::filesystem::file_size(file.path, ignored);
  return ignored ? 0 : static_cast<int64_t>(size);
}

int64_t bytes_of(const std::vector<PlannedFile>& files) {
  int64_t bytes = 0;
  for (const PlannedFile& file : files) {
    bytes += bytes_of(file);
  }
  return bytes;
}

class SourceReader {
 public:
  SourceReader(const std::string& name, const std::vector<SourceOptions>& sources, const std::vector<PlannedFile>& files,
         const DataOptions& options, const LoadContext& context)
      : name_(name), sources_(sources), files_(files), options_(options), context_(context), progress_(name, bytes_of(files)) {
    set_.rows_of_files.assign(files.size(), -1);
    set_.hashes.resize(files.size());
    set_.unused_columns.resize(files.size());
  }

  RowSet read() {
    for (size_t first = 0; first < files_.size();) {
      size_t end = first;
      while (end < files_.size() && files_[end].source == files_[first].source) {
        ++end;
      }
      read_source(first, end);
      first = end;
    }
    progress_.finish(set_.report.rows);
    return std::move(set_);
  }

 private:
  /// Reads the files from `first` up to `end`, which belong to one source.
  void read_source(size_t first, size_t end) {
    const SourceOptions& source = sources_[files_[first].source];
    unseen_ = renamed_optional_columns(source);
    const RowEncoder encoder(source, options_, context_, unseen_);
    const int64_t rows_before = set_.report.rows;
    int64_t rows_left = source.limit.value_or(INT64_MAX);
    for (size_t i = first; i < end && rows_left > 0; ++i) {
      set_.rows_of_files[i] = read_file(i, encoder, rows_left);
      rows_left -= set_.rows_of_files[i];
      bytes_before_ += bytes_of(files_[i]);
      warn_if_empty(files_[i], set_.rows_of_files[i]);
    }
    if (!unseen_.empty() && set_.report.rows > rows_before) {
      data_error(name_ + "[" + std::to_string(files_[first].source) + "].columns",
                 "no row has the column \"" + printable(*unseen_.begin()) + "\". Likely cause: a misspelt name.");
    }
  }

  /// Reads at most `max_rows` of a file. Returns the number of rows read.
  int64_t read_file(size_t index, const RowEncoder& encoder, int64_t max_rows) {
    const PlannedFile& file = files_[index];
    const size_t num_threads = context_.num_threads > 0 ? context_.num_threads : at::get_num_threads();
    RowPipeline pipeline([&encoder](const PendingRow& row) { return encoder.encode(row); },
                         [&](EncodedRow row) { take(std::move(row), index); }, num_threads);
    int64_t num_rows = 0;
    const auto add = [&](PendingRow row) {
      throw_if_interrupted();
      pipeline.add(std::move(row));
      return ++num_rows < max_rows;
    };
    const auto consumed = [this](int64_t bytes) { bytes_of_file_ = bytes; };
    try {
      set_.hashes[index] = find_rows(file.path, *file.kind, add, consumed, sources_[file.source].documents);
    } catch (const Error&) {
      pipeline.finish();  // an error in an earlier row has precedence
      throw;
    }
    pipeline.finish();
    return num_rows;
  }

  void take(EncodedRow row, size_t index) {
    const PlannedFile& file = files_[index];
    std::set<std::string>& unused = set_.unused_columns[index];
    for (std::string& column : row.unused_columns) {
      if (unused.size() < kMaxUnused) {
        unused.insert(std::move(column));
      }
    }
    DataReport& report = set_.report;
    ++report.rows;
    for (const std::string& column : row.watched_columns) {
      unseen_.erase(column);
    }
    const Overlength overlength = options_.overlength;
    report.truncated += row.overlong && overlength == Overlength::kTruncate ? 1 : 0;
    report.dropped += row.overlong && overlength == Overlength::kDrop ? 1 : 0;
    report.split += row.overlong && overlength == Overlength::kSplit ? 1 : 0;
    report.message_pairs += row.is_message_pair ? 1 : 0;
    const Origin origin{file.name, row.line};
    if (row.skipped && ++report.skipped <= static_cast<int64_t>(kMaxNamed)) {
      set_.skipped.push_back(origin);
    }
    const bool has_label = !row.examples.empty() && row.label.kind != LabelKind::kNone;
    const std::optional<double> target = has_label ? std::optional(take_label(row.label, origin)) : std::nullopt;
    for (Example& example : row.examples) {
      if (target) {
        example.set_target(*target);
      }
      example.origin = origin;
      if (!set_.examples.empty()) {
        require_like(set_.examples.front(), example);
      }
      example.weight = sources_[file.source].weight;
      set_.examples.push_back(std::move(example));
    }
    progress_.update(bytes_before_ + bytes_of_file_, report.rows);
  }

  /// An example's target: the number, or the index of the name among the names so far.
  double take_label(const RowLabel& label, const Origin& origin) {
    RowLabels& raw = set_.labels;
    const bool is_name = label.kind == LabelKind::kNames;
    if (raw.kind != LabelKind::kNone && is_name != (raw.kind == LabelKind::kNames)) {
      data_error(origin.text(), "the label is " + std::string(is_name ? "a name" : "a number") + " among " +
                                    (is_name ? "numbers" : "names") + ": expected the same kind of label in all rows");
    }
    if (label.kind == LabelKind::kReals && raw.kind != LabelKind::kReals) {
      raw.first_real = static_cast<int64_t>(set_.examples.size());
    }
    raw.kind = raw.kind == LabelKind::kReals ? raw.kind : label.kind;
    if (!is_name) {
      return label.number;
    }
    const auto [place, is_new] = places_.emplace(label.name, raw.names.size());
    if (is_new) {
      raw.names.push_back(label.name);
    }
    return static_cast<double>(place->second);
  }

  const std::string& name_;
  const std::vector<SourceOptions>& sources_;
  const std::vector<PlannedFile>& files_;
  const DataOptions& options_;
  const LoadContext& context_;
  ReadingProgress progress_;
  int64_t bytes_before_ = 0;   // of the files that have been read
  int64_t bytes_of_file_ = 0;  // of the current file
  std::set<std::string> unseen_;
  std::unordered_map<std::string, size_t> places_;  // index of each name in set_.labels.names
  RowSet set_;
};

}  // namespace

RowSet read_files(const std::string& name, const std::vector<SourceOptions>& sources, const std::vector<PlannedFile>& files,
                  const DataOptions& options, const LoadContext& context) {
  return SourceReader(name, sources, files, options, context).read();
}

void warn_if_empty(const PlannedFile& file, int64_t num_rows) {
  if (num_rows == 0) {
    log::warn("[" + file.path + "] the file has no rows");
  }
}

}  // namespace lora::data
