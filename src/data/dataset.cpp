#include "lora/data/dataset.h"

#include <algorithm>
#include <map>
#include <optional>

#include "data/cache_key.h"
#include "data/dataset_cache.h"
#include "data/image_batches.h"
#include "data/image_tensors.h"
#include "data/load_images.h"
#include "data/row_set.h"
#include "lora/base/counted.h"
#include "lora/base/error.h"
#include "lora/base/file.h"
#include "lora/base/interrupt.h"
#include "lora/base/log.h"
#include "lora/base/text.h"

namespace lora::data {
namespace {

std::vector<std::string> hashes_of(const std::vector<PlannedFile>& files) {
  std::vector<std::string> hashes;
  for (const PlannedFile& file : files) {
    throw_if_interrupted();
    hashes.push_back(sha256_of_file(file.path, ErrorKind::kData));
  }
  return hashes;
}

// Whether each file that was read still has the hash that was computed before. Files that were not read do not count.
bool are_unchanged(const std::vector<std::string>& before, const std::vector<std::string>& when_read) {
  return std::equal(before.begin(), before.end(), when_read.begin(),
                    [](const std::string& a, const std::string& b) { return b.empty() || a == b; });
}

RowSet read_with_cache(const std::string& name, const std::vector<SourceOptions>& sources, const std::vector<PlannedFile>& files,
                       const DataOptions& options, const LoadContext& context) {
  const std::vector<std::string> hashes = hashes_of(files);
  const DatasetCache cache(options.cache_dir, cache_key(sources, files, hashes, options, context));
  if (std::optional<RowSet> kept = cache.load(sources, files, hashes)) {
    log::info(name + ": using tokenised data from " + cache.file().string());
    return std::move(*kept);
  }
  RowSet set = read_files(name, sources, files, options, context);
  if (!set.examples.empty() && are_unchanged(hashes, set.hashes)) {
    cache.save(set, files);
  }
  return set;
}

RowSet read_set(const std::string& name, const std::vector<SourceOptions>& sources, const std::vector<PlannedFile>& files,
                const DataOptions& options, const LoadContext& context) {
  const bool once = std::any_of(files.begin(), files.end(), [](const PlannedFile& file) { return file.is_read_once(); });
  const auto is_dense = [](const SourceOptions& source) {
    const RowContent content = facts_of(source.format).content;
    return content == RowContent::kFeatures || content == RowContent::kImages;
  };
  const bool has_numbers = std::any_of(sources.begin(), sources.end(), is_dense);  // nothing is tokenised
  return options.cache_dir.empty() || once || has_numbers ? read_files(name, sources, files, options, context)
                                                           : read_with_cache(name, sources, files, options, context);
}

constexpr int64_t kShortLine = 20;  // tokens

/// Adds the documents of .txt files to the report. A document that is split counts as one.
void report_texts(const std::vector<SourceOptions>& sources, const std::vector<PlannedFile>& files, const std::vector<Example>& examples,
                  DataReport& report) {
  std::map<const std::string*, TextDocuments> text_files;
  for (const PlannedFile& file : files) {
    if (file.kind->is_plain_text) {
      text_files.emplace(file.name.get(), sources[file.source].documents);
    }
  }
  if (text_files.empty()) {
    return;
  }
  std::map<TextDocuments, std::vector<int64_t>> lengths;
  for (const Example& example : examples) {
    if (const auto file = text_files.find(example.origin.file.get()); file != text_files.end()) {
      std::vector<int64_t>& own = lengths[file->second];
      const int64_t size = example.num_tokens();
      example.continues_row && !own.empty() ? static_cast<void>(own.back() += size) : own.push_back(size);
    }
  }
  for (auto& [documents, own] : lengths) {
    const auto middle = own.begin() + static_cast<std::ptrdiff_t>(own.size() / 2);
    std::nth_element(own.begin(), middle, own.end());
    report.texts.push_back({documents, static_cast<int64_t>(own.size()), *middle});
  }
}

void warn_of_short_lines(const std::string& name, const DataReport& report) {
  for (const TextReport& text : report.texts) {
    if (text.documents == TextDocuments::kLine && text.median_tokens < kShortLine) {
      const std::string remedy = name.starts_with("--") ? "--documents paragraph or file" : "\"documents\": \"paragraph\" or \"file\"";
      log::warn("[" + name + "] each line of a .txt file is a separate document, and the median line has only " +
                std::to_string(text.median_tokens) + " tokens. If a document has several lines, use " + remedy + ".");
    }
  }
}

/// The first of the skipped rows, and the number of the others.
std::string skipped_text(const DataReport& report) {
  constexpr size_t kNamed = 2;
  const std::vector<std::string>& all = report.skipped_origins;
  const std::vector<std::string> named(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(std::min(kNamed, all.size())));
  const auto more = report.skipped - static_cast<int64_t>(named.size());
  return join(named) + (more > 0 ? " and " + with_thousands(more) + " more" : "");
}

std::string unused_text(const std::set<std::string>& columns) {
  std::vector<std::string> names;
  for (const std::string& column : columns) {
    names.push_back(printable(column));
  }
  return join(names, ", ", 6);
}

[[noreturn]] void fail_empty(const std::string& name, const DataReport& report, int64_t max_length) {
  std::string why = "read " + counted(report.rows, "row");
  if (report.dropped > 0) {
    why += ", " + with_thousands(report.dropped) + " dropped as longer than data.max_length = " + with_thousands(max_length);
  }
  if (report.truncated > 0) {
    why += ", " + with_thousands(report.truncated) + " truncated to data.max_length = " + with_thousands(max_length);
  }
  if (report.skipped > 0) {
    why += ", " + with_thousands(report.skipped) + " skipped without a supervised token (" + skipped_text(report) + ")";
  }
  data_error(name, "no example is left: " + why + ". " +
                       (report.rows == 0 ? "Check data's paths and limits." : "Check the completions or labels, and data.max_length."));
}

/// Gives each use of an image an example of its own, unless each is used once, and adds the files of rows of tensors to those of the set.
void settle_images(const std::vector<SourceOptions>& sources, bool used_once, Dataset& dataset) {
  if (dataset.examples.empty() || dataset.examples.front().image() == nullptr) {
    return;
  }
  if (!used_once) {
    dataset.examples = with_copies(std::move(dataset.examples));
  }
  const auto has_tensors = [](const SourceOptions& source) { return source.format == RowFormat::kDiffusionTensors; };
  if (std::any_of(sources.begin(), sources.end(), has_tensors)) {
    const std::vector<SourceFile> tensors = files_of(dataset.examples);
    dataset.files.insert(dataset.files.end(), tensors.begin(), tensors.end());
  }
}

}  // namespace

int64_t Dataset::num_tokens() const {
  int64_t count = 0;
  for (const Example& example : examples) {
    count += example.num_tokens();
  }
  return count;
}

int64_t Dataset::longest() const {
  const auto shorter = [](const Example& a, const Example& b) { return a.num_tokens() < b.num_tokens(); };
  return std::max_element(examples.begin(), examples.end(), shorter) - examples.begin();
}

int64_t Dataset::num_supervised() const {
  int64_t count = 0;
  for (const Example& example : examples) {
    count += example.num_supervised();
  }
  return count;
}

Dataset load_dataset(const std::string& name, const std::vector<SourceOptions>& sources, const DataOptions& options,
                     const LoadContext& context) {
  if (has_image_files(sources)) {
    return load_images(name, sources, options, context);
  }
  if (options.max_length < 2) {
    config_error("data.max_length",
                 "found " + std::to_string(options.max_length) + ", expected at least 2, as each token is predicted from an earlier one");
  }
  const std::vector<PlannedFile> files = plan_files(name, sources, options, context);
  RowSet set = read_set(name, sources, files, options, context);
  Dataset dataset{std::move(set.examples), std::move(set.labels), std::move(set.report), {}};
  DataReport& report = dataset.report;
  for (const Origin& origin : set.skipped) {
    report.skipped_origins.push_back(origin.text());
  }
  for (size_t i = 0; i < files.size(); ++i) {
    if (!set.unused_columns[i].empty()) {
      report.unused_columns.push_back(*files[i].name + ": " + unused_text(set.unused_columns[i]));
    }
    if (set.rows_of_files[i] >= 0) {
      dataset.files.push_back({files[i].path, set.hashes[i]});
    }
  }
  settle_images(sources, context.one_form, dataset);
  report_texts(sources, files, dataset.examples, report);
  warn_of_short_lines(name, report);
  if (dataset.examples.empty()) {
    fail_empty(name, report, options.max_length);
  }
  if (report.skipped > 0) {
    log::warn("[" + name + "] " + with_thousands(report.skipped) + " of " + with_thousands(report.rows) +
              " rows have no supervised token and are skipped: " + skipped_text(report) +
              ". Likely cause: an empty completion, labels that are all -100, or a prompt as long as max_length.");
  }
  return dataset;
}

}  // namespace lora::data
