#include "lora/data/rows.h"

#include <memory>

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
        data_error(header->origin, "the header names the column " + printable(header->fields[i]) + " twice.");
      }
    }
  }
  return header->fields;
}

Row make_row(const std::vector<std::string>& header, const CsvRecord& record) {
  if (record.fields.size() != header.size()) {
    data_error(record.origin, "found " + std::to_string(record.fields.size()) + " fields, expected " + std::to_string(header.size()) +
                                  " as in the header (" + printable(join(header), 200) +
                                  "). Likely cause: a comma or a newline in a field without quotes.");
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

void find_in_text(LineReader& lines, const PendingRowSink& sink) {
  while (const auto line = lines.next()) {
    if (is_blank(*line)) {
      continue;
    }
    auto parse = [text = std::string(without_cr(*line)), origin = lines.origin(), number = lines.number()] {
      Row row{Json::object(), origin, false, number};
      row.object["text"] = text;
      return row;
    };
    if (!sink({std::move(parse), line->size()})) {
      return;
    }
  }
}

void find_by_lines(FileKind kind, const ByteSource& source, const std::string& name, const PendingRowSink& sink, const Consumed& consumed) {
  LineReader lines(source, name);
  switch (kind) {
    case FileKind::kJsonLines:
      return find_json_lines(lines, sink, consumed);
    case FileKind::kCsv:
      return find_in_csv(lines, sink);
    default:
      return find_in_text(lines, sink);
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

std::string find_rows(const std::string& path, FileKind kind, const PendingRowSink& sink, const Consumed& consumed) {
  if (path == "-" || is_pipe(path)) {  // what can be read once is kept, for its hash
    const std::string name = path == "-" ? kStdinName : path;
    const std::string text = path == "-" ? read_stdin() : read_all(open_file(path, [](int64_t) {}), path);
    kind == FileKind::kJsonArray ? find_in_json(text, name, sink, consumed) : find_by_lines(kind, bytes_of(text), name, sink, consumed);
    return sha256(text);
  }
  if (kind == FileKind::kJsonArray) {
    const auto ignored = [](int64_t) {};  // reading it is the short part: what counts is how many of its rows are through
    find_in_json(read_all(open_file(path, ignored), path), path, sink, consumed);
  } else {
    find_by_lines(kind, open_file(path, consumed), path, sink, consumed);
  }
  return sha256_of_file(path, ErrorKind::kData);
}

std::string read_rows(const std::string& path, FileKind kind, const RowSink& sink) {
  return find_rows(
      path, kind, [&sink](const PendingRow& row) { return sink(row.parse()); }, [](int64_t) {});
}

}  // namespace lora::data
