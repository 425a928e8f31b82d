#include "lora/data/dataset.h"

#include <algorithm>
#include <set>

#include "data/fields.h"
#include "data/formats.h"
#include "data/paths.h"
#include "data/rows.h"
#include "lora/base/error.h"
#include "lora/base/interrupt.h"
#include "lora/base/log.h"
#include "lora/base/text.h"

namespace lora::data {
namespace {

constexpr size_t kMaxNamed = 10;  // skipped samples named in the report
constexpr double kMaxWeight = 10'000;

class Loader {
 public:
  Loader(const std::string& name, const DataOptions& options, const LoadContext& context)
      : name_(name),
        options_(options),
        context_(context),
        format_context_{context.tokenizer, context.vocab_size, options.train_on, options.append_eos} {}

  void add_source(const SourceOptions& source, const std::string& where) {
    const Format& format = format_of(source.format);
    check_source(source, format, where);
    std::set<std::string> unseen = renamed_optional(source, format);
    const int64_t rows_before = dataset_.report.rows;
    int64_t rows_left = source.limit.value_or(INT64_MAX);
    for (const std::string& path : rows_left > 0 ? expand_path(source.path) : std::vector<std::string>()) {
      const FileKind kind = kind_of(path, source, where);
      const int64_t before = dataset_.report.rows;
      const std::string hash = read_rows(path, kind, [&](const Row& row) {
        std::erase_if(unseen, [&](const std::string& column) { return row.object.contains(column); });
        add_row(row, source, format);
        return --rows_left > 0;
      });
      dataset_.files.push_back({path, hash});
      if (dataset_.report.rows == before) {
        log::warn("[" + path + "] the file has no rows");
      }
      if (rows_left <= 0) {
        break;
      }
    }
    if (!unseen.empty() && dataset_.report.rows > rows_before) {
      data_error(where + ".columns", "no row has the column \"" + printable(*unseen.begin()) + "\". Likely cause: a slip in its name.");
    }
  }

  Dataset finish() {
    const DataReport& report = dataset_.report;
    if (dataset_.examples.empty()) {
      fail_empty();
    }
    if (report.skipped > 0) {
      log::warn("[" + name_ + "] " + with_thousands(report.skipped) + " of " + with_thousands(report.rows) +
                " samples have no supervised token and are skipped: " + named_origins() +
                ". Likely cause: an empty completion, labels of -100 alone, or a prompt that fills max_length");
    }
    return std::move(dataset_);
  }

 private:
  void check_source(const SourceOptions& source, const Format& format, const std::string& where) {
    const std::string name(kRowFormats.name(source.format));
    if (!(source.weight > 0 && source.weight <= kMaxWeight)) {
      config_error(where + ".weight", "found " + std::to_string(source.weight) + ", expected a number above 0 and at most 10,000.");
    }
    std::vector<std::string> fields = format.required;
    fields.insert(fields.end(), format.optional.begin(), format.optional.end());
    for (const auto& [field, column] : source.columns) {
      if (std::find(fields.begin(), fields.end(), field) == fields.end()) {
        config_error(where + ".columns", "\"" + printable(field) + "\" is no field of the format " + name + ": expected " + join(fields) +
                                             did_you_mean(field, fields) + ". The keys are our names, the values the file's.");
      }
    }
    if (format.needs_tokenizer && context_.tokenizer == nullptr) {
      config_error(where + ".format",
                   "the format " + name + " needs a tokenizer, and there is none. Set model.tokenizer, or use tokens rows.");
    }
    if (format.needs_tokenizer && options_.append_eos && !context_.tokenizer->eos_id() && !warned_of_eos_) {
      warned_of_eos_ = true;
      log::warn("[" + name_ + "] append_eos is on, and the tokenizer has no EOS token: none is appended");
    }
  }

  // Columns that a row may lack, but that were named on purpose: one that no row has is a mistake.
  static std::set<std::string> renamed_optional(const SourceOptions& source, const Format& format) {
    std::set<std::string> columns;
    for (const std::string& field : format.optional) {
      const auto renamed = source.columns.find(field);
      if (renamed != source.columns.end()) {
        columns.insert(renamed->second);
      }
    }
    return columns;
  }

  static FileKind kind_of(const std::string& path, const SourceOptions& source, const std::string& where) {
    const auto kind = file_kind(path);
    if (!kind) {
      config_error(where + ".path", "the kind of the file " + path + " is unknown: expected a name ending in " + known_endings() + ".");
    }
    if (*kind == FileKind::kText && source.format != RowFormat::kText) {
      config_error(where + ".format",
                   path + " is plain text: found the format " + std::string(kRowFormats.name(source.format)) + ", expected text.");
    }
    return *kind;
  }

  void add_row(const Row& row, const SourceOptions& source, const Format& format) {
    if (dataset_.report.rows++ % 64 == 0) {
      check_interrupt();
    }
    const Fields fields(row, source);
    Example example = format.encode(fields, format_context_);
    if (format.needs_tokenizer) {
      check_ids(example, row.origin);
    }
    example.origin = row.origin;
    example.weight = source.weight;
    if (static_cast<int64_t>(example.ids.size()) > options_.max_length) {
      add_overlong(std::move(example));
    } else if (!keep(std::move(example))) {
      skip(row.origin);
    }
  }

  void check_ids(const Example& example, const std::string& origin) const {
    const auto largest = std::max_element(example.ids.begin(), example.ids.end());
    if (largest != example.ids.end() && *largest >= context_.vocab_size) {
      data_error(origin, "the tokenizer makes the id " + std::to_string(*largest) + " (" + printable(context_.tokenizer->token(*largest)) +
                             "), and the model knows ids from 0 to " + std::to_string(context_.vocab_size - 1) +
                             ". Likely cause: the tokenizer of another model.");
    }
  }

  void add_overlong(Example example) {
    DataReport& report = dataset_.report;
    const std::string origin = example.origin;
    bool kept = false;
    switch (options_.overlength) {
      case Overlength::kTruncate:
        ++report.truncated;
        example.ids.resize(options_.max_length);
        example.labels.resize(options_.max_length);
        kept = keep(std::move(example));
        break;
      case Overlength::kDrop:
        ++report.dropped;
        return;
      case Overlength::kSplit:
        ++report.split;
        kept = keep_parts(example);
        break;
      case Overlength::kError:
        data_error(origin, "the document is too long: found " + with_thousands(static_cast<int64_t>(example.ids.size())) +
                               " tokens, expected at most data.max_length = " + with_thousands(options_.max_length) +
                               ". Raise it, or set data.overlength to truncate, drop or split.");
    }
    if (!kept) {
      skip(origin);
    }
  }

  // A part without a supervised token teaches nothing and is left out; the row counts as skipped if all are.
  bool keep_parts(const Example& whole) {
    bool kept = false;
    const auto size = static_cast<int64_t>(whole.ids.size());
    for (int64_t begin = 0; begin < size; begin += options_.max_length) {
      const int64_t end = std::min(begin + options_.max_length, size);
      Example part{{whole.ids.begin() + begin, whole.ids.begin() + end},
                   {whole.labels.begin() + begin, whole.labels.begin() + end},
                   whole.origin,
                   whole.weight};
      kept = keep(std::move(part)) || kept;
    }
    return kept;
  }

  bool keep(Example example) {
    if (example.num_supervised() == 0 && !context_.keep_unsupervised) {
      return false;
    }
    example.ids.shrink_to_fit();
    example.labels.shrink_to_fit();
    dataset_.examples.push_back(std::move(example));
    return true;
  }

  void skip(const std::string& origin) {
    DataReport& report = dataset_.report;
    ++report.skipped;
    if (report.skipped_origins.size() < kMaxNamed) {
      report.skipped_origins.push_back(origin);
    }
  }

  std::string named_origins() const {
    const DataReport& report = dataset_.report;
    const auto more = report.skipped - static_cast<int64_t>(report.skipped_origins.size());
    return join(report.skipped_origins) + (more > 0 ? " … (" + with_thousands(more) + " more)" : "");
  }

  [[noreturn]] void fail_empty() const {
    const DataReport& report = dataset_.report;
    std::string why = "read " + with_thousands(report.rows) + " rows";
    if (report.dropped > 0) {
      why += ", " + with_thousands(report.dropped) + " dropped as longer than data.max_length = " + with_thousands(options_.max_length);
    }
    if (report.truncated > 0) {
      why += ", " + with_thousands(report.truncated) + " truncated to it";
    }
    if (report.skipped > 0) {
      why += ", " + with_thousands(report.skipped) + " skipped without a supervised token (" + named_origins() + ")";
    }
    data_error(name_, "no example is left: " + why + ". " +
                          (report.rows == 0 ? "Check data's paths and limits." : "Check the completions or labels, and data.max_length."));
  }

  std::string name_;
  const DataOptions& options_;
  const LoadContext& context_;
  FormatContext format_context_;
  Dataset dataset_;
  bool warned_of_eos_ = false;
};

}  // namespace

Dataset load_dataset(const std::string& name, const std::vector<SourceOptions>& sources, const DataOptions& options,
                     const LoadContext& context) {
  if (options.max_length < 2) {
    config_error("data.max_length",
                 "found " + std::to_string(options.max_length) + ", expected at least 2: a token is predicted from another.");
  }
  Loader loader(name, options, context);
  for (size_t i = 0; i < sources.size(); ++i) {
    loader.add_source(sources[i], name + "[" + std::to_string(i) + "]");
  }
  return loader.finish();
}

}  // namespace lora::data
