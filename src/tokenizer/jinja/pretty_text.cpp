#include "tokenizer/jinja/pretty_text.h"

#include <algorithm>

#include "tokenizer/jinja/operations.h"
#include "tokenizer/jinja/python_text.h"
#include "tokenizer/unicode/utf8.h"

namespace lora::tokenizer::jinja {
namespace {

constexpr int64_t kWidth = 80;

/// pprint's order of keys: Python's order, or the names of the types if they cannot be compared.
bool is_before(Runtime& runtime, const Value& a, const Value& b) {
  runtime.need_defined(a);
  runtime.need_defined(b);
  const bool have_order = (a.is_any_number() && b.is_any_number()) || (a.type() == b.type() && (a.is_text() || a.sequence() != nullptr));
  return have_order ? is_less(runtime, a, b) : a.type() < b.type();
}

/// The value with the keys of all dicts sorted.
Value ordered(Runtime& runtime, const Value& value) {
  runtime.work(1);
  if (const Mapping* mapping = value.mapping()) {
    std::vector<std::pair<Value, Value>> entries;
    for (const auto& [key, item] : mapping->entries) {
      entries.emplace_back(key, ordered(runtime, item));
    }
    std::stable_sort(entries.begin(), entries.end(), [&](const auto& a, const auto& b) { return is_before(runtime, a.first, b.first); });
    return runtime.mapping(std::move(entries));
  }
  const Sequence* sequence = value.sequence();
  if (sequence == nullptr || (sequence->kind != Sequence::Kind::kList && sequence->kind != Sequence::Kind::kTuple)) {
    return value;
  }
  std::vector<Value> items;
  for (const Value& item : sequence->items) {
    items.push_back(ordered(runtime, item));
  }
  return runtime.list(std::move(items), sequence->kind);
}

/// The words of a line, each with the white space after it.
std::vector<std::string> words_of(std::string_view line) {
  std::vector<std::string> words;
  bool after_space = true;
  for (size_t at = 0; at < line.size();) {
    const size_t begin = at;
    const bool is_space = is_python_space(next_code_point(line, at));
    if (words.empty() || (after_space && !is_space)) {
      words.emplace_back();
    }
    words.back() += line.substr(begin, at - begin);
    after_space = is_space;
  }
  return words;
}

int64_t quoted_size(const std::string& text) {
  return static_cast<int64_t>(num_characters(python_literal(text)));
}

/// pprint.PrettyPrinter. `indent`: the column at which a value begins; `allowance`: the characters that must fit after it; `level`: its
/// nesting level, from 1.
class PrettyPrinter {
 public:
  explicit PrettyPrinter(Runtime& runtime) : runtime_(runtime) {}

  std::string take() { return std::move(text_); }

  void write(const Value& value, int64_t indent, int64_t allowance, int level) {
    const std::string whole = representation(runtime_, value);
    const Sequence* sequence = value.sequence();
    if (static_cast<int64_t>(num_characters(whole)) <= kWidth - indent - allowance) {
      put(whole);
    } else if (const Mapping* mapping = value.mapping()) {
      write_mapping(*mapping, indent, allowance + 1, level);
    } else if (sequence != nullptr && sequence->kind == Sequence::Kind::kList) {
      write_items(sequence->items, "[", "]", indent, allowance, level);
    } else if (sequence != nullptr && sequence->kind == Sequence::Kind::kTuple) {
      write_items(sequence->items, "(", sequence->items.size() == 1 ? ",)" : ")", indent, allowance, level);
    } else if (value.is_text() && !value.text().empty()) {
      write_text(value.text(), indent, allowance, level);
    } else {
      put(whole);
    }
  }

 private:
  void put(const std::string& part) {
    runtime_.reserve(part.size() + 1);
    text_ += part;
  }

  void new_line(const char* before, int64_t indent) { put(before + ("\n" + std::string(static_cast<size_t>(indent), ' '))); }

  void write_mapping(const Mapping& mapping, int64_t indent, int64_t allowance, int level) {
    put("{");
    for (size_t i = 0; i < mapping.entries.size(); ++i) {
      const auto& [key, item] = mapping.entries[i];
      const bool is_last = i + 1 == mapping.entries.size();
      const std::string name = representation(runtime_, key);
      put(name + ": ");
      write(item, indent + static_cast<int64_t>(num_characters(name)) + 3, is_last ? allowance : 1, level + 1);
      if (!is_last) {
        new_line(",", indent + 1);
      }
    }
    put("}");
  }

  void write_items(const std::vector<Value>& items, const char* begin, const std::string& end, int64_t indent, int64_t allowance,
                   int level) {
    put(begin);
    for (size_t i = 0; i < items.size(); ++i) {
      const bool is_last = i + 1 == items.size();
      write(items[i], indent + 1, is_last ? allowance + static_cast<int64_t>(end.size()) : 1, level + 1);
      if (!is_last) {
        new_line(",", indent + 1);
      }
    }
    put(end);
  }

  /// Splits a text into parts that each fit into a line.
  std::vector<std::string> parts_of(const std::string& text, int64_t width, int64_t allowance) {
    std::vector<std::string> parts;
    const std::vector<std::string> lines = split_lines(text, /*keep_ends=*/true);
    for (const std::string& line : lines) {
      const bool is_last_line = &line == &lines.back();
      if (quoted_size(line) <= width - (is_last_line ? allowance : 0)) {
        parts.push_back(line);
        continue;
      }
      std::string part;
      const std::vector<std::string> words = words_of(line);
      for (const std::string& word : words) {
        runtime_.touch(part.size());
        const bool is_last = is_last_line && &word == &words.back();
        if (quoted_size(part + word) > width - (is_last ? allowance : 0) && !part.empty()) {
          parts.push_back(std::move(part));
          part.clear();
        }
        part += word;
      }
      parts.push_back(std::move(part));
    }
    return parts;
  }

  void write_text(const std::string& text, int64_t indent, int64_t allowance, int level) {
    const bool has_brackets = level == 1;
    indent += has_brackets ? 1 : 0;
    allowance += has_brackets ? 1 : 0;
    const std::vector<std::string> parts = parts_of(text, kWidth - indent, allowance);
    if (parts.size() == 1) {
      return put(python_literal(text));
    }
    put(has_brackets ? "(" : "");
    for (size_t i = 0; i < parts.size(); ++i) {
      if (i > 0) {
        new_line("", indent);
      }
      put(python_literal(parts[i]));
    }
    put(has_brackets ? ")" : "");
  }

  Runtime& runtime_;
  std::string text_;
};

}  // namespace

std::string pretty_text(Runtime& runtime, const Value& value) {
  PrettyPrinter printer(runtime);
  printer.write(ordered(runtime, value), 0, 0, 1);
  return printer.take();
}

}  // namespace lora::tokenizer::jinja
