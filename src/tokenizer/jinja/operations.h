#pragma once
#include <optional>
#include <string>

#include "tokenizer/jinja/runtime.h"

// What Python's operators and built-in functions do with values.
namespace lora::tokenizer::jinja {

bool truth(const Value& value);
/// Whether Python takes it as a key of a dict.
bool is_hashable(const Value& value);
bool equals(Runtime& runtime, const Value& a, const Value& b);
/// a < b; fails for values that have no order.
bool is_less(Runtime& runtime, const Value& a, const Value& b);
bool contains(Runtime& runtime, const Value& container, const Value& item);

/// Where the entry of a key stands. Fails for a key that Python does not hash.
std::optional<size_t> find_entry(Runtime& runtime, const Mapping& mapping, const Value& key);

/// obj.name and obj[key] by Jinja's rules: attributes before entries, entries before attributes; undefined where there is neither.
Value attribute_of(Runtime& runtime, const Value& object, const std::string& name);
Value item_of(Runtime& runtime, const Value& object, const Value& key);
/// What filters look for by `attribute`: "a.b.0" is item after item; the value itself where `path` is none.
Value attribute_path(Runtime& runtime, const Value& value, const Value& path);
/// obj[begin:end:step]; none where a part is left out.
Value slice_of(Runtime& runtime, const Value& object, const Value& begin, const Value& end, const Value& step);
/// A method of a text, a dict or a list; nothing where Python has none of that name.
std::optional<Value> method_of(Runtime& runtime, const Value& object, const std::string& name);

Value call(Runtime& runtime, const Value& function, const Arguments& arguments);

/// len(): nothing for what has none.
std::optional<size_t> length_of(Runtime& runtime, const Value& value);
/// All items of what can be gone through: the characters of a text, the keys of a dict. What an iterator still has is taken from it.
std::vector<Value> items_of(Runtime& runtime, const Value& value);
bool is_iterable(const Value& value);

enum class BinaryOperator { kAdd, kSubtract, kMultiply, kDivide, kFloorDivide, kModulo, kPower };
Value binary(Runtime& runtime, BinaryOperator op, const Value& a, const Value& b);
Value negated(Runtime& runtime, const Value& value);
/// text % arguments, as printf.
std::string formatted(Runtime& runtime, const std::string& format, const Value& arguments);

/// float(): nothing for what is no number and no text of one.
std::optional<double> float_of(const Value& value);

/// str() and repr().
std::string text_of(Runtime& runtime, const Value& value);
std::string representation(Runtime& runtime, const Value& value);

/// json.dumps.
struct JsonStyle {
  bool ascii = false;
  std::optional<std::string> indent;  ///< of a level; none: one line
  std::string item_separator = ", ";
  std::string key_separator = ": ";
  bool sort_keys = false;
};
std::string json_text(Runtime& runtime, const Value& value, const JsonStyle& style);

}  // namespace lora::tokenizer::jinja
