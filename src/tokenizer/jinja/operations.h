#pragma once
#include <optional>
#include <string>

#include "tokenizer/jinja/runtime.h"

// Python's operators and built-in functions on values.
namespace lora::tokenizer::jinja {

bool truth(const Value& value);
/// Whether Python allows it as a key of a dict.
bool is_hashable(const Value& value);
bool equals(Runtime& runtime, const Value& a, const Value& b);
/// a < b; fails for values that have no order.
bool is_less(Runtime& runtime, const Value& a, const Value& b);
bool contains(Runtime& runtime, const Value& container, const Value& item);

/// The index of a key's entry. Fails for a key that Python cannot hash.
std::optional<size_t> find_entry(Runtime& runtime, const Mapping& mapping, const Value& key);

/// obj.name and obj[key] by Jinja's rules: the former prefers attributes to entries, the latter entries to attributes; undefined if there
/// is neither.
Value attribute_of(Runtime& runtime, const Value& object, const std::string& name);
Value item_of(Runtime& runtime, const Value& object, const Value& key);
/// The value that filters find by `attribute`: "a.b.0" selects item after item; the value itself if `path` is none.
Value attribute_path(Runtime& runtime, const Value& value, const Value& path);
/// obj[begin:end:step]; none for an omitted part.
Value slice_of(Runtime& runtime, const Value& object, const Value& begin, const Value& end, const Value& step);
/// A method of a string, a dict or a list; empty if Python has none with this name.
std::optional<Value> method_of(Runtime& runtime, const Value& object, const std::string& name);

Value call(Runtime& runtime, const Value& function, const Arguments& arguments);

/// len(); empty for a value without a length.
std::optional<size_t> length_of(Runtime& runtime, const Value& value);
/// All items of an iterable: the characters of a string, the keys of a dict. The remaining items of an iterator are consumed.
std::vector<Value> items_of(Runtime& runtime, const Value& value);
bool is_iterable(const Value& value);

enum class BinaryOperator { kAdd, kSubtract, kMultiply, kDivide, kFloorDivide, kModulo, kPower };
Value binary(Runtime& runtime, BinaryOperator op, const Value& a, const Value& b);
Value negated(Runtime& runtime, const Value& value);
/// text % arguments, like printf.
std::string formatted(Runtime& runtime, const std::string& format, const Value& arguments);

/// float(); empty for a value that is neither a number nor the text of one.
std::optional<double> float_of(const Value& value);

/// str() and repr().
std::string text_of(Runtime& runtime, const Value& value);
std::string representation(Runtime& runtime, const Value& value);

/// json.dumps.
struct JsonStyle {
  bool ascii = false;
  std::optional<std::string> indent;  ///< per level; none: everything on one line
  std::string item_separator = ", ";
  std::string key_separator = ": ";
  bool sort_keys = false;
};
std::string json_text(Runtime& runtime, const Value& value, const JsonStyle& style);

}  // namespace lora::tokenizer::jinja
