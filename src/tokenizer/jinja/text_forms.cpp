#include <algorithm>
#include <cmath>

#include "tokenizer/jinja/operations.h"
#include "tokenizer/jinja/python_text.h"

// str(), repr() and json.dumps.
namespace lora::tokenizer::jinja {
namespace {

/// Collects text and counts its cost while it grows, because one list may be contained in another many times.
class Writer {
 public:
  explicit Writer(Runtime& runtime) : runtime_(runtime) {}

  void put(std::string_view part) {
    runtime_.reserve(part.size() + 1);
    text_ += part;
  }
  std::string take() { return std::move(text_); }

 protected:
  Runtime& runtime_;

 private:
  std::string text_;
};

std::string number_text(const Value& value) {
  return value.is_bool()      ? (value.boolean() ? "True" : "False")
         : value.is_large()   ? value.digits()
         : value.is_integer() ? std::to_string(value.integer())
                              : float_text(value.number());
}

class Representation : public Writer {
 public:
  using Writer::Writer;

  void write(const Value& value) {
    runtime_.work(1);
    if (value.is_text()) {
      put(python_literal(value.text()));
    } else if (value.is_any_number()) {
      put(number_text(value));
    } else if (value.is_none() || value.is_undefined()) {
      put(value.is_none() ? "None" : "Undefined");
    } else if (const Mapping* mapping = value.mapping()) {
      write_mapping(*mapping);
    } else if (const Sequence* items = value.sequence()) {
      write_sequence(*items);
    } else {
      runtime_.fail("a value of type '" + value.type() + "' has no text");
    }
  }

 private:
  void write_mapping(const Mapping& mapping) {
    put("{");
    bool first = true;
    for (const auto& [key, value] : mapping.entries) {
      put(first ? "" : ", ");
      first = false;
      write(key);
      put(": ");
      write(value);
    }
    put("}");
  }

  void write_sequence(const Sequence& sequence) {
    switch (sequence.kind) {
      case Sequence::Kind::kTuple:
        put("(");
        write_items(sequence);
        return put(sequence.items.size() == 1 ? ",)" : ")");
      case Sequence::Kind::kList:
        put("[");
        write_items(sequence);
        return put("]");
      case Sequence::Kind::kKeys:
      case Sequence::Kind::kValues:
      case Sequence::Kind::kItems:
        put(sequence.kind == Sequence::Kind::kKeys     ? "dict_keys(["
            : sequence.kind == Sequence::Kind::kValues ? "dict_values(["
                                                       : "dict_items([");
        write_items(sequence);
        return put("])");
      default:
        runtime_.fail("a range or an iterator has no text. Convert it to a list with the filter 'list'.");
    }
  }

  void write_items(const Sequence& sequence) {
    for (size_t i = 0; i < sequence.items.size(); ++i) {
      put(i == 0 ? "" : ", ");
      write(sequence.items[i]);
    }
  }
};

class JsonWriter : public Writer {
 public:
  JsonWriter(Runtime& runtime, const JsonStyle& style) : Writer(runtime), style_(style) {}

  void write(const Value& value, size_t level) {
    runtime_.work(1);
    const Sequence* items = value.sequence();
    if (value.is_text()) {
      put(json_quoted(value.text(), style_.ascii));
    } else if (value.is_none() || value.is_any_number()) {
      put(scalar(value));
    } else if (const Mapping* mapping = value.mapping()) {
      write_mapping(*mapping, level);
    } else if (items != nullptr && (items->kind == Sequence::Kind::kList || items->kind == Sequence::Kind::kTuple)) {
      write_items(*items, level);
    } else {
      runtime_.fail("a value of type '" + value.type() + "' is not JSON" + (value.is_undefined() ? ": " + value.why() : ""));
    }
  }

 private:
  static std::string scalar(const Value& value) {
    if (value.is_none()) {
      return "null";
    }
    if (value.is_bool()) {
      return value.boolean() ? "true" : "false";
    }
    if (value.is_float() && !std::isfinite(value.number())) {
      return std::isnan(value.number()) ? "NaN" : value.number() > 0 ? "Infinity" : "-Infinity";
    }
    return number_text(value);
  }

  void new_line(size_t level) {
    if (style_.indent) {
      put("\n");
      for (size_t i = 0; i < level; ++i) {
        put(*style_.indent);
      }
    }
  }

  void write_items(const Sequence& sequence, size_t level) {
    if (sequence.items.empty()) {
      return put("[]");
    }
    put("[");
    for (size_t i = 0; i < sequence.items.size(); ++i) {
      put(i == 0 ? "" : style_.item_separator);
      new_line(level + 1);
      write(sequence.items[i], level + 1);
    }
    new_line(level);
    put("]");
  }

  void write_mapping(const Mapping& mapping, size_t level) {
    if (mapping.entries.empty()) {
      return put("{}");
    }
    std::vector<const std::pair<Value, Value>*> entries;
    for (const auto& entry : mapping.entries) {
      entries.push_back(&entry);
    }
    if (style_.sort_keys) {
      std::stable_sort(entries.begin(), entries.end(), [&](const auto* a, const auto* b) { return is_less(runtime_, a->first, b->first); });
    }
    put("{");
    bool first = true;
    for (const auto* entry : entries) {
      put(first ? "" : style_.item_separator);
      first = false;
      new_line(level + 1);
      put(json_quoted(key_text(entry->first), style_.ascii) + style_.key_separator);
      write(entry->second, level + 1);
    }
    new_line(level);
    put("}");
  }

  std::string key_text(const Value& key) const {
    if (!key.is_text() && !key.is_none() && !key.is_any_number()) {
      runtime_.fail("keys of JSON must be str, int, float, bool or None, found '" + key.type() + "'");
    }
    return key.is_text() ? key.text() : scalar(key);
  }

  const JsonStyle& style_;
};

}  // namespace

std::string representation(Runtime& runtime, const Value& value) {
  Representation writer(runtime);
  writer.write(value);
  return writer.take();
}

std::string text_of(Runtime& runtime, const Value& value) {
  runtime.touch(value.is_text() ? value.text().size() : 0);
  return value.is_text() ? value.text() : value.is_undefined() ? "" : representation(runtime, value);
}

std::string json_text(Runtime& runtime, const Value& value, const JsonStyle& style) {
  JsonWriter writer(runtime, style);
  writer.write(value, 0);
  return writer.take();
}

}  // namespace lora::tokenizer::jinja
