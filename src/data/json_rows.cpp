#include "data/json_rows.h"

#include <algorithm>
#include <array>
#include <memory>

#include "lora/base/error.h"
#include "lora/base/log.h"
#include "lora/base/python_json.h"
#include "lora/base/text.h"

namespace lora::data {
namespace {

constexpr std::string_view kSpace = " \t\r\n";

void require_object(const Json& row, const std::string& place) {
  if (!row.is_object()) {
    data_error(place, "a row must be an object: found " + type_name(row) + ", expected for example {\"text\": \"…\"}");
  }
}

Row parse_row(const std::string& text, const std::string& name, int64_t line) {
  Row row{parse_python_json(text, name, ErrorKind::kData, line), name + ":" + std::to_string(line), false, line};
  require_object(row.object, row.origin + ":" + std::to_string(text.find_first_not_of(kSpace) + 1));
  return row;
}

/// Tracks how deep a JSON text is nested in arrays and objects.
class Nesting {
 public:
  void add(char c) {
    if (in_string_) {
      in_string_ = is_escaped_ || c != '"';
      is_escaped_ = !is_escaped_ && c == '\\';
      return;
    }
    in_string_ = c == '"';
    depth_ += c == '[' || c == '{' ? 1 : (c == ']' || c == '}' ? -1 : 0);
  }
  void add(std::string_view text) {
    for (const char c : text) {
      add(c);
    }
  }
  int depth() const { return depth_; }
  bool in_string() const { return in_string_; }

 private:
  int depth_ = 0;
  bool in_string_ = false;
  bool is_escaped_ = false;
};

struct TextPosition {
  int64_t line;
  int64_t column;
};

/// The positions of the elements of a valid JSON array that starts at `begin`.
std::vector<TextPosition> element_places(std::string_view text, size_t begin) {
  std::vector<TextPosition> places;
  int64_t line = 1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(begin), '\n');
  size_t line_start = text.rfind('\n', begin) + 1;  // npos + 1 is the beginning of the text
  Nesting nesting;
  bool expects_element = false;
  for (size_t i = begin; i < text.size() && (i == begin || nesting.depth() > 0); ++i) {
    const char c = text[i];
    if (c == '\n') {
      ++line;
      line_start = i + 1;
    }
    const bool is_space = kSpace.find(c) != std::string_view::npos;
    if (expects_element && !is_space && c != ']') {
      places.push_back({line, static_cast<int64_t>(i - line_start) + 1});
    }
    const bool was_in_string = nesting.in_string();
    nesting.add(c);
    if (!is_space && !was_in_string) {
      expects_element = nesting.depth() == 1 && (c == '[' || c == ',');
    }
  }
  return places;
}

/// The elements of `rows`, the array that starts at `begin` in the text.
void find_in_array(Json rows, const std::string& text, size_t begin, const std::string& name, const PendingRowSink& sink,
                   const Consumed& consumed) {
  const std::vector<TextPosition> places = element_places(text, begin);
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto object = std::make_shared<Json>(std::move(rows[i]));
    auto parse = [object, place = places[i], name] {
      Row row{std::move(*object), name + ":" + std::to_string(place.line), false, place.line};
      require_object(row.object, row.origin + ":" + std::to_string(place.column));
      return row;
    };
    consumed(static_cast<int64_t>(text.size() * i / rows.size()));
    if (!sink({std::move(parse), text.size() / rows.size()})) {
      return;
    }
  }
}

/// Finds objects that span several lines each; `first` is the line that `lines` has read last.
void find_long_objects(LineReader& lines, std::string first, const PendingRowSink& sink) {
  const auto name = std::make_shared<const std::string>(lines.name());
  std::string text = std::move(first);
  int64_t begin = lines.number();
  Nesting nesting;
  nesting.add(text);
  for (bool ended = false; !ended;) {
    const auto line = lines.next();
    ended = !line;
    if (line && text.empty()) {
      begin = lines.number();
    }
    if (line && !(text.empty() && is_blank(*line))) {
      nesting.add(*line);
      text += (text.empty() ? "" : "\n") + std::string(*line);
    }
    if (text.empty() || (nesting.depth() > 0 && !ended)) {
      continue;
    }
    const size_t size = text.size();
    if (!sink({[name, text = std::move(text), begin] { return parse_row(text, *name, begin); }, size})) {
      return;
    }
    text.clear();
    nesting = Nesting();
  }
}

std::string rest_of(LineReader& lines, std::string_view first) {
  std::string text(static_cast<size_t>(lines.number() - 1), '\n');  // keeps the line numbers
  text += first;
  while (const auto line = lines.next()) {
    text += "\n" + std::string(*line);
  }
  return text;
}

/// Whether a text has anything after its first array or object.
bool has_more_values(const std::string& text, size_t begin) {
  Nesting nesting;
  size_t end = begin;
  do {
    nesting.add(text[end++]);
  } while (end < text.size() && nesting.depth() > 0);
  return text.find_first_not_of(kSpace, end) != std::string::npos;
}

/// Whether a key is a field of a row that may itself hold an array of objects.
bool is_row_field(const std::string& key) {
  static constexpr std::array<std::string_view, 10> kFields{"messages", "conversations", "prompt", "completion", "chosen",
                                                            "rejected", "tools",         "images", "functions",  "input_ids"};
  return std::find(kFields.begin(), kFields.end(), key) != kFields.end();
}

std::vector<std::string> keys_with_rows(const Json& object) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : object.items()) {
    if (value.is_array() && !value.empty() && value.front().is_object() && !is_row_field(key)) {
      keys.push_back(key);
    }
  }
  return keys;
}

/// The position of the value of one of an object's own keys.
size_t value_of_key(const std::string& text, size_t begin, const std::string& needed) {
  Nesting nesting;
  size_t string_begin = begin;
  for (size_t i = begin; i < text.size(); ++i) {
    const bool was_in_string = nesting.in_string();
    nesting.add(text[i]);
    if (!was_in_string && nesting.in_string()) {
      string_begin = i;
    }
    if (nesting.depth() != 1 || nesting.in_string() || text[i] != ':') {
      continue;
    }
    const size_t string_end = text.find_last_of('"', i) + 1;
    if (Json::parse(text.substr(string_begin, string_end - string_begin)) == needed) {
      return text.find_first_not_of(kSpace, i + 1);
    }
  }
  return begin;
}

void find_in_object(Json object, const std::string& text, size_t begin, const std::string& name, const PendingRowSink& sink,
                    const Consumed& consumed) {
  const std::vector<std::string> keys = keys_with_rows(object);
  if (keys.size() > 1) {
    data_error(name + ":1", "several keys of the object hold an array of objects: found " + join(keys, ", ", 4) +
                                ", expected one that holds the rows. Split the file.");
  }
  if (keys.empty()) {
    const int64_t line = 1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(begin), '\n');
    const auto row = std::make_shared<Json>(std::move(object));
    sink({[row, name, line] { return Row{std::move(*row), name + ":" + std::to_string(line), false, line}; }, text.size()});
    return;
  }
  log::info(name + ": reading the rows under the key \"" + printable(keys[0]) + "\" of the object");
  find_in_array(std::move(object[keys[0]]), text, value_of_key(text, begin, keys[0]), name, sink, consumed);
}

void find_in_text(const std::string& text, const std::string& name, const PendingRowSink& sink, const Consumed& consumed);

void find_in_lines(LineReader& lines, const PendingRowSink& sink, const Consumed& consumed) {
  const auto name = std::make_shared<const std::string>(lines.name());
  bool is_first = true;
  while (const auto line = lines.next()) {
    if (is_blank(*line)) {
      continue;
    }
    const std::string text = is_first ? trim(*line) : "";
    if (is_first && text.starts_with('[')) {
      log::info(*name + ": reading the file as one JSON array, as it does not have one row per line");
      return find_in_text(rest_of(lines, *line), *name, sink, consumed);
    }
    if (is_first && text == "{") {
      return find_long_objects(lines, std::string(*line), sink);
    }
    is_first = false;
    if (!sink({[name, text = std::string(*line), number = lines.number()] { return parse_row(text, *name, number); }, line->size()})) {
      return;
    }
  }
}

void find_in_text(const std::string& text, const std::string& name, const PendingRowSink& sink, const Consumed& consumed) {
  const size_t begin = text.find_first_not_of(" \t\r\n\xef\xbb\xbf");
  if (begin == std::string::npos) {
    return;
  }
  if (text[begin] == '{' && has_more_values(text, begin)) {
    LineReader lines(bytes_of(text), name);
    return find_in_lines(lines, sink, consumed);
  }
  Json value = parse_python_json(text, name, ErrorKind::kData);
  if (value.is_object()) {
    return find_in_object(std::move(value), text, begin, name, sink, consumed);
  }
  if (!value.is_array()) {
    data_error(name + ":1:1", "a .json file must hold one array of rows: found " + type_name(value));
  }
  find_in_array(std::move(value), text, begin, name, sink, consumed);
}

}  // namespace

void find_json_lines(RowInput& input, const PendingRowSink& sink) {
  LineReader lines = input.lines();
  find_in_lines(lines, sink, input.consumed());
}

void find_json_rows(RowInput& input, const PendingRowSink& sink) {
  find_in_text(input.take_all(), input.name(), sink, input.consumed());
}

}  // namespace lora::data
