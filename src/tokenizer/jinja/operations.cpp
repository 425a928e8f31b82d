#include "tokenizer/jinja/operations.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "tokenizer/jinja/large_integers.h"
#include "tokenizer/jinja/python_text.h"

namespace lora::tokenizer::jinja {
namespace {

/// An exact comparison of any integer with any double.
long double exact(const Value& value) {
  return value.is_float() ? static_cast<long double>(value.number()) : static_cast<long double>(value.integer());
}

bool is_same_sequence(Runtime& runtime, const Sequence& a, const Sequence& b) {
  const auto same_kind = [&] { return a.kind == b.kind && a.kind != Sequence::Kind::kValues && a.kind != Sequence::Kind::kIterator; };
  if (&a == &b) {
    return true;
  }
  if (!same_kind() || a.items.size() != b.items.size()) {
    return false;
  }
  for (size_t i = 0; i < a.items.size(); ++i) {
    if (!equals(runtime, a.items[i], b.items[i])) {
      return false;
    }
  }
  return true;
}

bool is_same_mapping(Runtime& runtime, const Mapping& a, const Mapping& b) {
  if (a.entries.size() != b.entries.size()) {
    return false;
  }
  for (const auto& [key, value] : a.entries) {
    const auto at = find_entry(runtime, b, key);
    if (!at || !equals(runtime, value, b.entries[*at].second)) {
      return false;
    }
  }
  return true;
}

bool is_less_sequence(Runtime& runtime, const Sequence& a, const Sequence& b) {
  for (size_t i = 0; i < std::min(a.items.size(), b.items.size()); ++i) {
    if (!equals(runtime, a.items[i], b.items[i])) {
      return is_less(runtime, a.items[i], b.items[i]);
    }
  }
  return a.items.size() < b.items.size();
}

/// The index that Python uses for the bound of a slice, between 0 (or -1 for a negative step) and the length.
int64_t slice_end(Runtime& runtime, const Value& value, int64_t length, int64_t fallback, bool backwards) {
  if (value.is_none()) {
    return fallback;
  }
  runtime.need_defined(value);
  if (!value.is_integer() && !value.is_bool()) {
    runtime.fail("slice indices must be integers or None, found '" + value.type() + "'");
  }
  const int64_t index = value.integer() < 0 ? value.integer() + length : value.integer();
  return backwards ? std::clamp<int64_t>(index, -1, length - 1) : std::clamp<int64_t>(index, 0, length);
}

std::vector<size_t> slice_indices(Runtime& runtime, int64_t length, const Value& begin, const Value& end, const Value& step_value) {
  int64_t step = 1;
  if (!step_value.is_none()) {
    runtime.need_defined(step_value);
    if (!step_value.is_integer() && !step_value.is_bool()) {
      runtime.fail("slice indices must be integers or None, found '" + step_value.type() + "'");
    }
    step = std::clamp<int64_t>(step_value.integer(), -(int64_t{1} << 40), int64_t{1} << 40);
  }
  if (step == 0) {
    runtime.fail("slice step cannot be zero");
  }
  const bool backwards = step < 0;
  const int64_t first = slice_end(runtime, begin, length, backwards ? length - 1 : 0, backwards);
  const int64_t last = slice_end(runtime, end, length, backwards ? -1 : length, backwards);
  std::vector<size_t> indices;
  for (int64_t i = first; backwards ? i > last : i < last; i += step) {
    indices.push_back(static_cast<size_t>(i));
  }
  runtime.work(indices.size());
  return indices;
}

std::string no_attribute(const Value& object, const std::string& name) {
  if (object.is_none()) {
    return "'None' has no attribute '" + name + "'";
  }
  const bool is_plain = object.object() == nullptr;
  return "'" + object.type() + (is_plain ? " object" : "") + "' has no attribute '" + name + "'";
}

std::optional<Value> entry_of(Runtime& runtime, const Value& object, const Value& key) {
  if (const Mapping* mapping = object.mapping()) {
    if (!is_hashable(key)) {
      return std::nullopt;
    }
    const auto at = find_entry(runtime, *mapping, key);
    return at ? std::optional(mapping->entries[*at].second) : std::nullopt;
  }
  const Sequence* items = object.sequence();
  const bool is_indexed = object.is_text() || (items != nullptr && items->has_index());
  if (!is_indexed || !(key.is_integer() || key.is_bool())) {
    return std::nullopt;
  }
  const auto length = static_cast<int64_t>(*length_of(runtime, object));
  const int64_t index = key.integer() < 0 ? key.integer() + length : key.integer();
  if (index < 0 || index >= length) {
    return std::nullopt;
  }
  if (items != nullptr) {
    return items->items[static_cast<size_t>(index)];
  }
  const std::string& text = object.text();
  const size_t begin = byte_of_character(text, static_cast<size_t>(index));
  return runtime.text(text.substr(begin, byte_of_character(std::string_view(text).substr(begin), 1)));
}

std::optional<Value> own_attribute(Runtime& runtime, const Value& object, const std::string& name) {
  if (name.starts_with("__")) {
    return std::nullopt;
  }
  return object.object() != nullptr ? object.object()->attribute(runtime, name) : method_of(runtime, object, name);
}

}  // namespace

// Only one level of a tuple is checked, which is enough for its use as a key.
bool is_hashable(const Value& value) {
  const auto is_plain = [](const Value& part) {
    const Sequence* items = part.sequence();
    return part.mapping() == nullptr && (items == nullptr || items->kind != Sequence::Kind::kList);
  };
  const Sequence* items = value.sequence();
  return is_plain(value) && (items == nullptr || std::all_of(items->items.begin(), items->items.end(), is_plain));
}

bool truth(const Value& value) {
  if (const Sequence* items = value.sequence()) {
    return !items->has_length() || !items->items.empty();
  }
  if (const Mapping* entries = value.mapping()) {
    return !entries->entries.empty();
  }
  if (value.is_number()) {
    return value.number() != 0;
  }
  return value.is_text() ? !value.text().empty() : !value.is_none() && !value.is_undefined();
}

bool equals(Runtime& runtime, const Value& a, const Value& b) {
  runtime.work(1);
  if (a.is_number() && b.is_number()) {
    return exact(a) == exact(b);
  }
  if (a.is_any_number() && b.is_any_number()) {
    return compare_large(a, b) == 0;
  }
  if (a.is_text() && b.is_text()) {
    runtime.touch(std::min(a.text().size(), b.text().size()));
    return a.text() == b.text();
  }
  if (a.sequence() != nullptr && b.sequence() != nullptr) {
    return is_same_sequence(runtime, *a.sequence(), *b.sequence());
  }
  if (a.mapping() != nullptr && b.mapping() != nullptr) {
    return is_same_mapping(runtime, *a.mapping(), *b.mapping());
  }
  if (a.object() != nullptr || b.object() != nullptr) {
    return a.object() == b.object();
  }
  return (a.is_none() && b.is_none()) || (a.is_undefined() && b.is_undefined());
}

bool is_less(Runtime& runtime, const Value& a, const Value& b) {
  runtime.work(1);
  runtime.need_defined(a);
  runtime.need_defined(b);
  if (a.is_number() && b.is_number()) {
    return exact(a) < exact(b);
  }
  if (a.is_any_number() && b.is_any_number()) {
    return compare_large(a, b) == -1;
  }
  if (a.is_text() && b.is_text()) {
    runtime.touch(std::min(a.text().size(), b.text().size()));
    return a.text() < b.text();  // UTF-8 sorts by bytes as by code points
  }
  const Sequence* first = a.sequence();
  const Sequence* second = b.sequence();
  const bool comparable = first != nullptr && second != nullptr && first->kind == second->kind &&
                          (first->kind == Sequence::Kind::kList || first->kind == Sequence::Kind::kTuple);
  if (!comparable) {
    runtime.fail("'" + a.type() + "' and '" + b.type() + "' have no order");
  }
  return is_less_sequence(runtime, *first, *second);
}

bool contains(Runtime& runtime, const Value& container, const Value& item) {
  if (container.is_text()) {
    if (!item.is_text()) {
      runtime.need_defined(item);
      runtime.fail("'in <string>' requires a string as left operand, found '" + item.type() + "'");
    }
    runtime.touch(container.text().size());
    return container.text().find(item.text()) != std::string::npos;
  }
  if (const Mapping* mapping = container.mapping()) {
    return find_entry(runtime, *mapping, item).has_value();
  }
  if (!is_iterable(container)) {
    runtime.fail("argument of type '" + container.type() + "' is not iterable");
  }
  const Sequence* items = container.sequence();
  if (items == nullptr) {
    return false;
  }
  for (size_t i = items->taken; i < items->items.size(); ++i) {
    items->taken = items->has_length() ? 0 : i + 1;
    if (equals(runtime, items->items[i], item)) {
      return true;
    }
  }
  return false;
}

std::optional<size_t> find_entry(Runtime& runtime, const Mapping& mapping, const Value& key) {
  if (key.is_text()) {
    runtime.touch(key.text().size());
    const auto found = mapping.texts.find(key.text());
    return found != mapping.texts.end() ? std::optional(found->second) : std::nullopt;
  }
  if (!is_hashable(key)) {
    runtime.fail("unhashable type: '" + key.type() + "'");
  }
  for (size_t i = 0; mapping.texts.size() < mapping.entries.size() && i < mapping.entries.size(); ++i) {
    if (equals(runtime, mapping.entries[i].first, key)) {
      return i;
    }
  }
  return std::nullopt;
}

Value attribute_of(Runtime& runtime, const Value& object, const std::string& name) {
  runtime.need_defined(object);
  if (auto value = own_attribute(runtime, object, name)) {
    return std::move(*value);
  }
  const Mapping* mapping = object.mapping();
  if (const Value* value = mapping != nullptr ? mapping->find(name) : nullptr) {
    return *value;
  }
  return Value::undefined(no_attribute(object, name));
}

Value item_of(Runtime& runtime, const Value& object, const Value& key) {
  runtime.need_defined(object);
  if (auto value = entry_of(runtime, object, key)) {
    return std::move(*value);
  }
  if (key.is_text()) {
    if (auto value = own_attribute(runtime, object, key.text())) {
      return std::move(*value);
    }
    return Value::undefined(no_attribute(object, key.text()));
  }
  return Value::undefined("'" + object.type() + " object' has no element " +
                          (key.is_integer() ? std::to_string(key.integer()) : "of that key"));
}

Value attribute_path(Runtime& runtime, const Value& value, const Value& path) {
  if (path.is_none()) {
    return value;
  }
  if (!path.is_text()) {
    return item_of(runtime, value, path);
  }
  Value found = value;
  for (const std::string& part : split_text(path.text(), ".", -1, false)) {
    const bool is_number = all_characters(part, is_decimal) && part.size() < 10;
    found = item_of(runtime, found, is_number ? Value(static_cast<int64_t>(std::stoll(part))) : runtime.text(part));
  }
  return found;
}

Value slice_of(Runtime& runtime, const Value& object, const Value& begin, const Value& end, const Value& step) {
  runtime.need_defined(object);
  const Sequence* items = object.sequence();
  if (!object.is_text() && (items == nullptr || !items->has_index())) {
    runtime.fail("'" + object.type() + "' object has no slices");
  }
  if (items != nullptr) {
    std::vector<Value> part;
    for (const size_t i : slice_indices(runtime, static_cast<int64_t>(items->items.size()), begin, end, step)) {
      part.push_back(items->items[i]);
    }
    return runtime.list(std::move(part), items->kind);
  }
  const std::string& text = object.text();
  runtime.touch(text.size());
  std::vector<size_t> begins;
  for (size_t at = 0; at <= text.size(); ++at) {
    if (at == text.size() || (static_cast<unsigned char>(text[at]) & 0xc0) != 0x80) {
      begins.push_back(at);
    }
  }
  runtime.work(begins.size() / 8);
  std::string part;
  for (const size_t i : slice_indices(runtime, static_cast<int64_t>(begins.size()) - 1, begin, end, step)) {
    part.append(text, begins[i], begins[i + 1] - begins[i]);
  }
  return runtime.text(std::move(part));
}

Value call(Runtime& runtime, const Value& function, const Arguments& arguments) {
  runtime.need_defined(function);
  if (function.object() == nullptr) {
    runtime.fail("'" + function.type() + "' object is not callable");
  }
  const auto kept = function.shared_object();  // a macro may reassign the name that holds it
  return kept->call(runtime, arguments);
}

std::optional<size_t> length_of(Runtime& runtime, const Value& value) {
  if (value.is_text()) {
    runtime.touch(value.text().size());
    return num_characters(value.text());
  }
  if (const Sequence* items = value.sequence(); items != nullptr && items->has_length()) {
    return items->items.size();
  }
  if (const Mapping* entries = value.mapping()) {
    return entries->entries.size();
  }
  return value.is_undefined() ? std::optional<size_t>(0) : std::nullopt;
}

bool is_iterable(const Value& value) {
  return value.is_text() || value.sequence() != nullptr || value.mapping() != nullptr || value.is_undefined();
}

std::vector<Value> items_of(Runtime& runtime, const Value& value) {
  std::vector<Value> items;
  if (const Sequence* sequence = value.sequence()) {
    items.assign(sequence->items.begin() + static_cast<std::ptrdiff_t>(sequence->taken), sequence->items.end());
    sequence->taken = sequence->has_length() ? 0 : sequence->items.size();
  } else if (const Mapping* mapping = value.mapping()) {
    for (const auto& [key, entry] : mapping->entries) {
      items.push_back(key);
    }
  } else if (value.is_text()) {
    runtime.reserve(num_characters(value.text()) * (sizeof(Value) + 64));
    for (std::string& character : characters(value.text())) {
      items.push_back(runtime.text(std::move(character)));
    }
  } else if (!value.is_undefined()) {
    runtime.fail("'" + value.type() + "' object is not iterable");
  }
  runtime.reserve(items.size() * sizeof(Value));
  return items;
}

}  // namespace lora::tokenizer::jinja
