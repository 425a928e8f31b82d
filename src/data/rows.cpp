#include "lora/data/rows.h"

#include <memory>

#include "data/csv_reader.h"
#include "data/line_reader.h"
#include "lora/base/enum_table.h"
#include "lora/base/file.h"
#include "lora/base/input_file.h"
#include "lora/base/text.h"

namespace lora::data {
namespace {

constexpr EnumTable<FileKind, 4> kEndings{
    {{{FileKind::kJsonLines, ".jsonl"}, {FileKind::kJsonArray, ".json"}, {FileKind::kCsv, ".csv"}, {FileKind::kText, ".txt"}}}};

void require_object(const Json& row, const std::string& place, const std::string& hint) {
  if (!row.is_object()) {
    data_error(place, "a row is an object: found " + type_name(row) + ", expected for instance {\"text\": \"…\"}." + hint);
  }
}

Row parse_line(const std::string& line, const std::string& name, int64_t number) {
  Row row{parse_json(line, name, ErrorKind::kData, number), name + ":" + std::to_string(number), false, number};
  const bool whole_array = row.object.is_array() && number == 1;
  require_object(row.object, row.origin + ":" + std::to_string(line.find_first_not_of(" \t") + 1),
                 whole_array ? " One JSON array of rows belongs in a file named .json." : "");
  return row;
}

void find_json_lines(LineReader& lines, const PendingRowSink& sink) {
  const auto name = std::make_shared<const std::string>(lines.name());
  while (const auto line = lines.next()) {
    if (is_blank(*line)) {
      continue;
    }
    if (!sink({[name, text = std::string(*line), number = lines.number()] { return parse_line(text, *name, number); }, line->size()})) {
      return;
    }
  }
}

struct Place {
  int64_t line;
  int64_t column;
};

// Where each element of a valid JSON array begins.
std::vector<Place> element_places(std::string_view text) {
  std::vector<Place> places;
  int64_t line = 1;
  size_t line_start = 0;
  int depth = 0;
  bool in_string = false;
  bool expect_element = false;
  for (size_t i = text.starts_with("\xef\xbb\xbf") ? 3 : 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      i += c == '\\' ? 1 : 0;
      in_string = c != '"';
      continue;
    }
    if (c == '\n') {
      ++line;
      line_start = i + 1;
    }
    if (c == '\n' || c == ' ' || c == '\t' || c == '\r') {
      continue;
    }
    if (expect_element && c != ']') {
      places.push_back({line, static_cast<int64_t>(i - line_start) + 1});
    }
    depth += c == '[' || c == '{' ? 1 : (c == ']' || c == '}' ? -1 : 0);
    in_string = c == '"';
    expect_element = depth == 1 && (c == '[' || c == ',');
  }
  return places;
}

void find_in_json_array(const std::string& text, const std::string& name, const PendingRowSink& sink, const Consumed& consumed) {
  const size_t first = text.find_first_not_of(" \t\r\n\xef\xbb\xbf");
  if (first == std::string::npos) {
    return;
  }
  if (text[first] == '{') {
    data_error(name, "a .json file holds one array of rows: found an object. If it has one object a line, name it .jsonl.");
  }
  Json rows = parse_json(text, name, ErrorKind::kData);
  if (!rows.is_array()) {
    data_error(name + ":1:1", "a .json file holds one array of rows: found " + type_name(rows) + ".");
  }
  const std::vector<Place> places = element_places(text);
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto object = std::make_shared<Json>(std::move(rows[i]));
    auto parse = [object, place = places[i], name] {
      Row row{std::move(*object), name + ":" + std::to_string(place.line), false, place.line};
      require_object(row.object, row.origin + ":" + std::to_string(place.column), "");
      return row;
    };
    consumed(static_cast<int64_t>(text.size() * i / rows.size()));
    if (!sink({std::move(parse), text.size() / rows.size()})) {
      return;
    }
  }
}

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

void find_by_lines(FileKind kind, const ByteSource& source, const std::string& name, const PendingRowSink& sink) {
  LineReader lines(source, name);
  switch (kind) {
    case FileKind::kJsonLines:
      return find_json_lines(lines, sink);
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
    kind == FileKind::kJsonArray ? find_in_json_array(text, name, sink, consumed) : find_by_lines(kind, bytes_of(text), name, sink);
    return sha256(text);
  }
  if (kind == FileKind::kJsonArray) {
    const auto ignored = [](int64_t) {};  // reading it is the short part: what counts is how many of its rows are through
    find_in_json_array(read_all(open_file(path, ignored), path), path, sink, consumed);
  } else {
    find_by_lines(kind, open_file(path, consumed), path, sink);
  }
  return sha256_of_file(path, ErrorKind::kData);
}

std::string read_rows(const std::string& path, FileKind kind, const RowSink& sink) {
  return find_rows(
      path, kind, [&sink](const PendingRow& row) { return sink(row.parse()); }, [](int64_t) {});
}

}  // namespace lora::data
