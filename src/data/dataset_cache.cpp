#include "data/dataset_cache.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <span>

#include "lora/base/error.h"
#include "lora/base/file.h"
#include "lora/base/log.h"
#include "lora/io/safetensors.h"
#include "lora/io/tensors.h"

namespace lora::data {
namespace {

// The tensors of a cache file. E: number of examples, D: number of documents in all of them, F: number of files.
constexpr const char* kDocuments = "documents";           // [E], number of each example's documents
constexpr const char* kIds = "ids";                       // of all documents, concatenated
constexpr const char* kIdEnds = "id_ends";                // [D], the end of each document's ids
constexpr const char* kLabelling = "labelling";           // Labelling::values, concatenated
constexpr const char* kLabellingEnds = "labelling_ends";  // [D]
constexpr const char* kOwnLabels = "own_labels";          // [D]
constexpr const char* kContinues = "continues_row";       // [E]
constexpr const char* kContents = "content";              // [E], a Content
constexpr const char* kTargets = "target";                // [E], of labelled texts; otherwise 0
constexpr const char* kSecondTexts = "second_text";       // [E]
constexpr const char* kRawLabels = "raw_labels";          // RowLabels as bytes of JSON
constexpr const char* kUnused = "unused_columns";         // of each file, as bytes of JSON
constexpr const char* kFileOf = "file";                   // [E]
constexpr const char* kLineOf = "line";                   // [E]
constexpr const char* kReport = "report";                 // as report_numbers returns them
constexpr const char* kSkippedFiles = "skipped_file";     // of the skipped rows that are reported
constexpr const char* kSkippedLines = "skipped_line";
constexpr const char* kRowsOfFiles = "rows_of_files";  // [F]

constexpr const char* kKeyEntry = "key";
constexpr const char* kHashEntry = "sha256";

// Rows of features are not cached, as nothing is tokenised.
enum class Content : uint8_t { kDocument, kText, kLabelledText, kGroup };

Content content_of(const Example& example) {
  if (std::holds_alternative<LabelledText>(example.content)) {
    return example.has_target() ? Content::kLabelledText : Content::kText;
  }
  return std::holds_alternative<DocumentGroup>(example.content) ? Content::kGroup : Content::kDocument;
}

/// A document of an example, as the file keeps it.
struct DocumentRef {
  const std::vector<int32_t>& ids;
  const Labelling& labelling;
};

/// The documents of all examples, in order.
std::vector<DocumentRef> documents_of(const std::vector<Example>& examples) {
  static const Labelling kNone;
  std::vector<DocumentRef> all;
  all.reserve(examples.size());
  for (const Example& example : examples) {
    if (const auto* const group = std::get_if<DocumentGroup>(&example.content)) {
      for (const TokenDocument& document : group->documents) {
        all.push_back({document.ids, document.labelling});
      }
    } else {
      const auto* const document = std::get_if<TokenDocument>(&example.content);
      all.push_back({example.ids(), document != nullptr ? document->labelling : kNone});
    }
  }
  return all;
}

int32_t second_text_of(const Example& example) {
  const auto* const text = std::get_if<LabelledText>(&example.content);
  return text != nullptr ? text->second_text : 0;
}

// The index of a row's file among the planned files.
int32_t index_of(const Origin& origin, const std::vector<PlannedFile>& files) {
  const auto found = std::find_if(files.begin(), files.end(), [&](const PlannedFile& file) { return file.name == origin.file; });
  return static_cast<int32_t>(found - files.begin());
}

// A column with one number per item of `items`.
template <typename Items, typename Value>
io::TensorWriter column(const char* name, io::Dtype dtype, const Items& items, Value value) {
  return {name, dtype, {static_cast<int64_t>(items.size())}, [&items, value](const Append& append) {
            for (const auto& item : items) {
              const auto number = value(item);
              append(&number, sizeof(number));
            }
          }};
}

// The numbers that `values` returns for the documents, concatenated.
template <typename Values>
io::TensorWriter joined(const char* name, const std::vector<DocumentRef>& documents, Values values) {
  int64_t count = 0;
  for (const DocumentRef& document : documents) {
    count += static_cast<int64_t>(values(document).size());
  }
  return {name, io::Dtype::kI32, {count}, [&documents, values](const Append& append) {
            for (const DocumentRef& document : documents) {
              append(values(document).data(), values(document).size() * sizeof(int32_t));
            }
          }};
}

// The cumulative sizes of what `values` returns.
template <typename Values>
io::TensorWriter ends(const char* name, const std::vector<DocumentRef>& documents, Values values) {
  return {name, io::Dtype::kI64, {static_cast<int64_t>(documents.size())}, [&documents, values](const Append& append) {
            int64_t end = 0;
            for (const DocumentRef& document : documents) {
              end += static_cast<int64_t>(values(document).size());
              append(&end, sizeof(end));
            }
          }};
}

std::array<int64_t, 6> report_numbers(const DataReport& report) {
  return {report.rows, report.truncated, report.dropped, report.split, report.skipped, report.message_pairs};
}

std::string text_of(const RowLabels& raw) {
  return Json{{"kind", static_cast<int>(raw.kind)}, {"names", raw.names}, {"first_real", raw.first_real.value_or(-1)}}.dump();
}

// The parts of a set that are not columns of numbers.
struct Written {
  std::vector<DocumentRef> documents;
  std::string raw_labels;
  std::string unused_columns;
  std::array<int64_t, 6> report;
};

Written written(const RowSet& set) {
  return {documents_of(set.examples), text_of(set.labels), Json(set.unused_columns).dump(-1, ' ', false, Json::error_handler_t::replace),
          report_numbers(set.report)};
}

// The writers refer to `set`, `written` and `files`.
std::vector<io::TensorWriter> writers_of(const RowSet& set, const Written& written, const std::vector<PlannedFile>& files) {
  const auto ids = [](const DocumentRef& document) -> const std::vector<int32_t>& { return document.ids; };
  const auto labelling = [](const DocumentRef& document) -> const std::vector<int32_t>& { return document.labelling.values; };
  const auto same = [](int64_t number) { return number; };
  const auto file_of = [&files](const Origin& origin) { return index_of(origin, files); };
  const auto line_of = [](const Origin& origin) { return origin.line; };
  using enum io::Dtype;
  return {column(kDocuments, kI32, set.examples, [](const Example& e) { return static_cast<int32_t>(e.num_documents()); }),
          joined(kIds, written.documents, ids),
          ends(kIdEnds, written.documents, ids),
          joined(kLabelling, written.documents, labelling),
          ends(kLabellingEnds, written.documents, labelling),
          column(kOwnLabels, kU8, written.documents, [](const DocumentRef& d) { return static_cast<uint8_t>(d.labelling.own); }),
          column(kContinues, kU8, set.examples, [](const Example& e) { return static_cast<uint8_t>(e.continues_row); }),
          column(kContents, kU8, set.examples, content_of),
          column(kTargets, kF64, set.examples, [](const Example& e) { return e.target().value_or(0); }),
          column(kSecondTexts, kI32, set.examples, second_text_of),
          column(kRawLabels, kU8, written.raw_labels, [](char byte) { return static_cast<uint8_t>(byte); }),
          column(kUnused, kU8, written.unused_columns, [](char byte) { return static_cast<uint8_t>(byte); }),
          column(kFileOf, kI32, set.examples, [file_of](const Example& e) { return file_of(e.origin); }),
          column(kLineOf, kI64, set.examples, [](const Example& e) { return e.origin.line; }),
          column(kReport, kI64, written.report, same),
          column(kSkippedFiles, kI32, set.skipped, file_of),
          column(kSkippedLines, kI64, set.skipped, line_of),
          column(kRowsOfFiles, kI64, set.rows_of_files, same)};
}

// SHA-256 over the names and contents, in the order of `writers`.
std::string hash_of(const std::vector<io::TensorWriter>& writers) {
  Sha256 hash;
  for (const io::TensorWriter& writer : writers) {
    hash.add(writer.name.data(), writer.name.size());
    writer.produce([&hash](const void* bytes, size_t size) { hash.add(bytes, size); });
  }
  return hash.hexadecimal();
}

// An open cache file. Every member throws Error if the content is not what was written.
class CacheFile {
 public:
  CacheFile(const fs::path& path, const std::string& key) : path_(path), file_(path) {
    const auto& metadata = file_.metadata();
    if (!metadata.contains(kKeyEntry) || metadata.at(kKeyEntry) != key) {
      fail("it belongs to other data");
    }
    Sha256 hash;
    for (const char* name : {kDocuments, kIds, kIdEnds, kLabelling, kLabellingEnds, kOwnLabels, kContinues, kContents, kTargets,
                             kSecondTexts, kRawLabels, kUnused, kFileOf, kLineOf, kReport, kSkippedFiles, kSkippedLines, kRowsOfFiles}) {
      const at::Tensor tensor = file_.tensor(name);
      hash.add(name, std::char_traits<char>::length(name));
      hash.add(tensor.const_data_ptr(), tensor.nbytes());
    }
    if (!metadata.contains(kHashEntry) || metadata.at(kHashEntry) != hash.hexadecimal()) {
      fail("the SHA-256 of its content has changed");
    }
  }

  /// The numbers of a column, valid during the lifetime of this object.
  template <typename T>
  std::span<const T> numbers(const char* name, std::optional<size_t> count = std::nullopt) const {
    const at::Tensor tensor = file_.tensor(name);
    if (tensor.scalar_type() != c10::CppTypeToScalarType<T>::value || tensor.dim() != 1 ||
        (count && tensor.size(0) != static_cast<int64_t>(*count))) {
      fail(std::string("its tensor ") + name + " has another shape or dtype");
    }
    return {tensor.const_data_ptr<T>(), static_cast<size_t>(tensor.size(0))};
  }

  /// The pieces of a column that end at the positions in another.
  std::vector<std::span<const int32_t>> pieces(const char* name, const char* ends_name, size_t count) const {
    const std::span<const int32_t> all = numbers<int32_t>(name);
    std::vector<std::span<const int32_t>> result;
    int64_t begin = 0;
    for (const int64_t end : numbers<int64_t>(ends_name, count)) {
      if (end < begin || end > static_cast<int64_t>(all.size())) {
        fail(std::string("its tensor ") + ends_name + " does not fit " + name);
      }
      result.push_back(all.subspan(begin, end - begin));
      begin = end;
    }
    return result;
  }

  [[noreturn]] void fail(const std::string& what) const { data_error(path_.string(), what); }

 private:
  fs::path path_;
  io::SafetensorsFile file_;
};

std::vector<int32_t> copied(std::span<const int32_t> numbers) {
  return {numbers.begin(), numbers.end()};
}

const PlannedFile& planned(const CacheFile& file, const std::vector<PlannedFile>& files, int32_t index) {
  if (index < 0 || index >= static_cast<int32_t>(files.size())) {
    file.fail("it refers to a file that is not in the list");
  }
  return files[index];
}

/// The documents in order, one after the other.
class DocumentReader {
 public:
  explicit DocumentReader(const CacheFile& file)
      : file_(file),
        own_(file.numbers<uint8_t>(kOwnLabels)),
        ids_(file.pieces(kIds, kIdEnds, own_.size())),
        labelling_(file.pieces(kLabelling, kLabellingEnds, own_.size())) {}

  TokenDocument next() {
    const size_t i = next_++;
    if (i >= own_.size()) {
      file_.fail("it has fewer documents than its examples");
    }
    if (own_[i] != 0 && labelling_[i].size() != ids_[i].size()) {
      file_.fail("an example has different numbers of labels and ids");
    }
    TokenDocument document;
    document.ids = copied(ids_[i]);
    document.labelling = {copied(labelling_[i]), own_[i] != 0};
    return document;
  }
  DocumentGroup next_group(int32_t count) {
    DocumentGroup group;
    for (int32_t i = 0; i < count; ++i) {
      group.documents.push_back(next());
    }
    return group;
  }

 private:
  const CacheFile& file_;
  std::span<const uint8_t> own_;
  std::vector<std::span<const int32_t>> ids_, labelling_;
  size_t next_ = 0;
};

std::vector<Example> read_examples(const CacheFile& file, const std::vector<SourceOptions>& sources,
                                   const std::vector<PlannedFile>& files) {
  const auto lines = file.numbers<int64_t>(kLineOf);
  const size_t count = lines.size();
  DocumentReader documents(file);
  const auto num_documents = file.numbers<int32_t>(kDocuments, count);
  const auto continues = file.numbers<uint8_t>(kContinues, count);
  const auto contents = file.numbers<uint8_t>(kContents, count);
  const auto targets = file.numbers<double>(kTargets, count);
  const auto second_texts = file.numbers<int32_t>(kSecondTexts, count);
  const auto file_of = file.numbers<int32_t>(kFileOf, count);
  std::vector<Example> examples(count);
  for (size_t i = 0; i < count; ++i) {
    const PlannedFile& from = planned(file, files, file_of[i]);
    Example& example = examples[i];
    if (const auto content = static_cast<Content>(contents[i]); content == Content::kDocument) {
      example.content = documents.next();
    } else if (content == Content::kGroup) {
      example.content = documents.next_group(num_documents[i]);
    } else {
      const bool has_label = content == Content::kLabelledText;
      example.content = LabelledText{documents.next().ids, second_texts[i], has_label ? std::optional(targets[i]) : std::nullopt};
    }
    example.origin = {from.name, lines[i]};
    example.weight = sources[from.source].weight;
    example.continues_row = continues[i] != 0;
  }
  return examples;
}

RowLabels read_row_labels(const CacheFile& file) {
  const auto bytes = file.numbers<uint8_t>(kRawLabels);
  const Json json = Json::parse(bytes.begin(), bytes.end());
  const auto first_real = json["first_real"].get<int64_t>();
  return {static_cast<LabelKind>(json["kind"].get<int>()), json["names"].get<std::vector<std::string>>(),
          first_real >= 0 ? std::optional(first_real) : std::nullopt};
}

RowSet read_cached_set(const CacheFile& file, const std::vector<SourceOptions>& sources, const std::vector<PlannedFile>& files) {
  RowSet set;
  set.examples = read_examples(file, sources, files);
  set.labels = read_row_labels(file);
  const auto report = file.numbers<int64_t>(kReport, report_numbers({}).size());
  set.report = {report[0], report[1], report[2], report[3], report[4], {}, {}, {}, report[5]};
  const auto skipped_lines = file.numbers<int64_t>(kSkippedLines);
  const auto skipped_files = file.numbers<int32_t>(kSkippedFiles, skipped_lines.size());
  for (size_t i = 0; i < skipped_lines.size(); ++i) {
    set.skipped.push_back({planned(file, files, skipped_files[i]).name, skipped_lines[i]});
  }
  const auto unused = file.numbers<uint8_t>(kUnused);
  set.unused_columns = Json::parse(unused.begin(), unused.end()).get<std::vector<std::set<std::string>>>();
  if (set.unused_columns.size() != files.size()) {
    file.fail("it has the unused columns of a different number of files");
  }
  const auto rows = file.numbers<int64_t>(kRowsOfFiles, files.size());
  set.rows_of_files.assign(rows.begin(), rows.end());
  return set;
}

}  // namespace

DatasetCache::DatasetCache(const fs::path& folder, std::string key) : file_(folder / (key + ".safetensors")), key_(std::move(key)) {}

std::optional<RowSet> DatasetCache::load(const std::vector<SourceOptions>& sources, const std::vector<PlannedFile>& files,
                                         const std::vector<std::string>& hashes) const {
  std::error_code ignored;
  if (!fs::exists(file_, ignored)) {
    return std::nullopt;
  }
  try {
    RowSet set = read_cached_set(CacheFile(file_, key_), sources, files);
    for (size_t i = 0; i < files.size(); ++i) {
      set.hashes.push_back(set.rows_of_files[i] < 0 ? "" : hashes[i]);
      warn_if_empty(files[i], set.rows_of_files[i]);
    }
    return set;
  } catch (const Error& error) {
    log::warn("cannot use the cached tokenised data, reading the rows again: " + std::string(error.what()));
    return std::nullopt;
  }
}

void DatasetCache::save(const RowSet& set, const std::vector<PlannedFile>& files) const {
  try {
    make_writable_folder(file_.parent_path());
    const Written others = written(set);
    const std::vector<io::TensorWriter> writers = writers_of(set, others, files);
    io::write_safetensors(file_, writers, {{"format", "lora-train examples"}, {kKeyEntry, key_}, {kHashEntry, hash_of(writers)}});
  } catch (const Error& error) {
    log::warn("cannot cache the tokenised data: " + std::string(error.what()));
  }
}

}  // namespace lora::data
