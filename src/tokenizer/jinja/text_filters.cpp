#include <algorithm>

#include "tokenizer/jinja/filters.h"
#include "tokenizer/jinja/operations.h"
#include "tokenizer/jinja/python_text.h"
#include "tokenizer/jinja/replace.h"

namespace lora::tokenizer::jinja {
namespace {

constexpr int64_t kWidestIndent = 100'000;

template <std::string (*kChange)(std::string_view)>
Value change_filter(Runtime& runtime, const Value& value, ArgumentReader&) {
  const std::string text = text_of(runtime, value);
  runtime.reserve(2 * text.size());
  return runtime.text(kChange(text));
}

Value trim(Runtime& runtime, const Value& value, ArgumentReader& arguments) {
  const auto set = arguments.text_if_any("chars");
  const std::string text = text_of(runtime, value);
  runtime.touch(text.size() * (set ? 1 + set->size() : 1));
  return runtime.text(std::string(stripped(text, set, true, true)));
}

Value as_text(Runtime& runtime, const Value& value, ArgumentReader&) {
  return value.is_text() ? value : runtime.text(text_of(runtime, value));
}

Value replace_filter(Runtime& runtime, const Value& value, ArgumentReader& arguments) {
  const std::string old = text_of(runtime, arguments.required("old"));
  const std::string with = text_of(runtime, arguments.required("new"));
  const Value count = arguments.next("count").value_or(Value());
  if (!count.is_none() && !count.is_integer()) {
    runtime.fail("replace(): count is '" + count.type() + "', expected an integer");
  }
  return runtime.text(replaced(runtime, text_of(runtime, value), old, with, count.is_none() ? -1 : count.integer()));
}

Value join_filter(Runtime& runtime, const Value& value, ArgumentReader& arguments) {
  const std::string separator = text_of(runtime, arguments.next("d").value_or(runtime.text("")));
  const Value attribute = arguments.next("attribute").value_or(Value());
  std::string result;
  bool first = true;
  for (const Value& item : items_of(runtime, value)) {
    const std::string part = text_of(runtime, attribute_path(runtime, item, attribute));
    runtime.reserve(separator.size() + part.size());
    result += (first ? "" : separator) + part;
    first = false;
  }
  return runtime.text(std::move(result));
}

Value indent(Runtime& runtime, const Value& value, ArgumentReader& arguments) {
  const Value width = arguments.next("width").value_or(Value(int64_t{4}));
  const bool indents_first = arguments.flag("first", false);
  const bool indents_blank = arguments.flag("blank", false);
  if (!value.is_text() || !(width.is_text() || (width.is_integer() && width.integer() <= kWidestIndent))) {
    runtime.need_defined(value);
    runtime.fail("indent() takes a string, and a width of at most " + std::to_string(kWidestIndent) + " or a string");
  }
  const std::string space = width.is_text() ? width.text() : std::string(static_cast<size_t>(std::max<int64_t>(width.integer(), 0)), ' ');
  runtime.touch(value.text().size());
  std::string result = indents_first ? space : "";
  bool first = true;
  for (const std::string& line : split_lines(value.text() + "\n", false)) {
    const bool indented = !first && (indents_blank || !line.empty());
    runtime.reserve(line.size() + (indented ? space.size() : 0) + 1);
    result += (first ? "" : "\n") + (indented ? space : "") + line;
    first = false;
  }
  return runtime.text(std::move(result));
}

Value format(Runtime& runtime, const Value& value, ArgumentReader& arguments) {
  std::vector<Value> items;
  for (auto item = arguments.next("value"); item; item = arguments.next("value")) {
    items.push_back(std::move(*item));
  }
  return runtime.text(formatted(runtime, text_of(runtime, value), runtime.list(std::move(items), Sequence::Kind::kTuple)));
}

Value center(Runtime& runtime, const Value& value, ArgumentReader& arguments) {
  Arguments width;
  width.positional.emplace_back(arguments.integer("width", 80));
  return call(runtime, *method_of(runtime, runtime.text(text_of(runtime, value)), "center"), width);
}

Value truncate(Runtime& runtime, const Value& value, ArgumentReader& arguments) {
  const int64_t length = arguments.integer("length", 255);
  const bool kills_words = arguments.flag("killwords", false);
  const std::string end = arguments.text("end", "...");
  const int64_t leeway = arguments.integer("leeway", 5);
  const auto end_size = static_cast<int64_t>(num_characters(end));
  const auto size = length_of(runtime, value);
  if (size && length >= end_size && leeway >= 0 && static_cast<int64_t>(*size) - leeway <= length) {
    return value;
  }
  if (!value.is_text() || length < end_size || leeway < 0) {
    runtime.fail("truncate() takes a string, a length of at least that of `end`, and a non-negative leeway");
  }
  runtime.touch(value.text().size());
  const std::string& text = value.text();
  std::string kept = text.substr(0, byte_of_character(text, static_cast<size_t>(length - end_size)));
  if (!kills_words) {
    kept = split_text(kept, " ", 1, true).front();
  }
  return runtime.text(kept + end);
}

Value count_words(Runtime& runtime, const Value& value, ArgumentReader&) {
  const std::string text = text_of(runtime, value);
  int64_t count = 0;
  bool in_word = false;
  for (const std::string& character : characters(text)) {
    const bool is_word = character == "_" || all_characters(character, is_alphanumeric);
    count += is_word && !in_word ? 1 : 0;
    in_word = is_word;
  }
  runtime.reserve(text.size() * 32);
  return count;
}

JsonStyle json_style(Runtime& runtime, ArgumentReader& arguments) {
  JsonStyle style;
  style.ascii = arguments.flag("ensure_ascii", false);
  const Value indent = arguments.next("indent").value_or(Value());
  if (!indent.is_none()) {
    if (!indent.is_text() && !((indent.is_integer() || indent.is_bool()) && indent.integer() <= kWidestIndent)) {
      runtime.fail("tojson(): indent is '" + indent.type() + "', expected an integer of at most " + std::to_string(kWidestIndent) +
                   " or a string");
    }
    style.indent = indent.is_text() ? indent.text() : std::string(static_cast<size_t>(std::max<int64_t>(indent.integer(), 0)), ' ');
    style.item_separator = ",";
  }
  const Value separators = arguments.next("separators").value_or(Value());
  if (!separators.is_none()) {
    const std::vector<Value> pair = items_of(runtime, separators);
    if (pair.size() != 2 || !pair[0].is_text() || !pair[1].is_text()) {
      runtime.fail("tojson(): separators must be two strings");
    }
    style.item_separator = pair[0].text();
    style.key_separator = pair[1].text();
  }
  style.sort_keys = arguments.flag("sort_keys", false);
  return style;
}

Value to_json(Runtime& runtime, const Value& value, ArgumentReader& arguments) {
  return runtime.text(json_text(runtime, value, json_style(runtime, arguments)));
}

}  // namespace

const FilterTable& text_filters() {
  static const FilterTable kFilters{
      {"upper", change_filter<upper>},
      {"lower", change_filter<lower>},
      {"capitalize", change_filter<capitalized>},
      {"title", change_filter<jinja_titled>},
      {"trim", trim},
      {"string", as_text},
      {"safe", as_text},
      {"replace", replace_filter},
      {"join", join_filter},
      {"indent", indent},
      {"format", format},
      {"center", center},
      {"truncate", truncate},
      {"tojson", to_json},
      {"wordcount", count_words},
  };
  return kFilters;
}

}  // namespace lora::tokenizer::jinja
