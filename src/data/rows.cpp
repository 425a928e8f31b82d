#include "lora/data/rows.h"

#include <memory>
#include <utility>

#include "data/csv_reader.h"
#include "data/json_rows.h"
#include "data/line_reader.h"
#include "lora/base/enum_table.h"
#include "lora/base/file.h"
#include "lora/base/input_file.h"
#include "lora/base/text.h"

namespace lora::data {
namespace {

constexpr EnumTable<FileKind, 4> kEndings{
    {{{FileKind::kJsonLines, ".jsonl"}, {FileKind::kJsonArray, ".json"}, {FileKind::kCsv, ".csv"}, {FileKind::kText, ".txt"}}}};

std::vector<std::string> read_header(CsvReader& records) {
  const auto header = records.next();
  if (!header) {
    return {};
  }
  for (size_t i = 0; i < header->fields.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (header->fields[i] == header->fields[j]) {
        data_error(header->origin, "the header names the column " + printable(header->fields[i]) + " twice");
      }
    }
  }
  return header->fields;
}

Row make_row(const std::vector<std::string>& header, const CsvRecord& record) {
  if (record.fields.size() != header.size()) {
    data_error(record.origin, "found " + std::to_string(record.fields.size()) + " fields, expected " + std::to_string(header.size()) +
                                  " as in the header (" + printable(join(header), 200) +
                                  "). Likely cause: a comma or a newline in an unquoted field.");
  }
  Row row{Json::object(), record.origin, true, record.line};
  for (size_t i = 0; i < header.size(); ++i) {
    row.object[header[i]] = record.fields[i];
  }
  return row;
}

void find_in_csv(LineReader& lines, const PendingRowSink& sink) {
  CsvReader records(lines);
  const auto header = std::make_shared<const std::vector<std::string>>(read_header(records));
  while (auto record = records.next()) {
    size_t bytes = 0;
    for (const std::string& field : record->fields) {
      bytes += field.size();
    }
    if (!sink({[header, record = std::move(*record)] { return make_row(*header, record); }, bytes})) {
      return;
    }
  }
}

/// Finds the documents of a .txt file: lines, paragraphs (lines without a blank line between them) or the whole file. The line ending
/// before a blank line or at the end of the file is not part of a document.
class TextFinder {
 public:
  TextFinder(LineReader& lines, TextDocuments documents, const PendingRowSink& sink) : lines_(lines), documents_(documents), sink_(sink) {}

  void find() {
    bool goes_on = true;
    while (goes_on) {
      const auto line = lines_.next();
      if (!line) {
        give();
        return;
      }
      const bool blank = is_blank(*line);
      if (!blank || (documents_ == TextDocuments::kFile && !text_.empty())) {
        add(*line);
      }
      if (documents_ == TextDocuments::kLine || (documents_ == TextDocuments::kParagraph && blank)) {
        goes_on = give();
      }
    }
  }

 private:
  void add(std::string_view line) {
    if (text_.empty()) {
      origin_ = lines_.origin();
      number_ = lines_.number();
    }
    text_ += without_cr(line);
    text_ += '\n';
  }

  /// Emits the collected text, if there is any. Returns false if reading should stop.
  bool give() {
    if (text_.empty()) {
      return true;
    }
    std::string text = std::exchange(text_, {});
    text.erase(text.find_last_not_of('\n') + 1);
    const size_t bytes = text.size();
    return sink_({[text = std::move(text), origin = origin_, number = number_] {
                    Row row{Json::object(), origin, false, number};
                    row.object["text"] = text;
                    return row;
                  },
                  bytes});
  }

  LineReader& lines_;
  TextDocuments documents_;
  const PendingRowSink& sink_;
  std::string text_;
  std::string origin_;  ///< of the text's first line
  int64_t number_ = 0;
};

void find_by_lines(FileKind kind, const ByteSource& source, const std::string& name, const PendingRowSink& sink, const Consumed& consumed,
                   TextDocuments documents) {
  LineReader lines(source, name);
  switch (kind) {
    case FileKind::kJsonLines:
      return find_json_lines(lines, sink, consumed);
    case FileKind::kCsv:
      return find_in_csv(lines, sink);
    default:
      return TextFinder(lines, documents, sink).find();
  }
}

}  // namespace

std::optional<FileKind> file_kind(const std::string& path) {
  if (path == "-") {
    return FileKind::kJsonLines;
  }
  std::string_view name = path;
  if (name.ends_with(".gz")) {
    name.remove_suffix(3);
  }
  for (const auto& entry : kEndings.entries) {
    if (name.ends_with(entry.name)) {
      return entry.value;
    }
  }
  return is_pipe(path) ? std::optional(FileKind::kJsonLines) : std::nullopt;
}

std::string known_endings() {
  return join(kEndings.names()) + ", each also with .gz";
}

std::string find_rows(const std::string& path, FileKind kind, const PendingRowSink& sink, const Consumed& consumed,
                      TextDocuments documents) {
  if (path == "-" || is_pipe(path)) {  // can be read only once, so the content is kept for its hash
    const std::string name = path == "-" ? kStdinName : path;
    const std::string text = path == "-" ? read_stdin() : read_all(open_file(path, [](int64_t) {}), path);
    kind == FileKind::kJsonArray ? find_in_json(text, name, sink, consumed)
                                 : find_by_lines(kind, bytes_of(text), name, sink, consumed, documents);
    return sha256(text);
  }
  if (kind == FileKind::kJsonArray) {
    const auto ignored = [](int64_t) {};  // reading takes little time compared to parsing, so the progress counts rows
    find_in_json(read_all(open_file(path, ignored), path), path, sink, consumed);
  } else {
    find_by_lines(kind, open_file(path, consumed), path, sink, consumed, documents);
  }
  return sha256_of_file(path, ErrorKind::kData);
}

std::string read_rows(const std::string& path, FileKind kind, const RowSink& sink, TextDocuments documents) {
  return find_rows(
      path, kind, [&sink](const PendingRow& row) { return sink(row.parse()); }, [](int64_t) {}, documents);
}

}  // namespace lora::data
