#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

namespace lora::tokenizer::jinja {

class Object;
struct Sequence;
struct Mapping;

/// The value of an unknown name: it prints as nothing, and most uses of it fail with `why`.
struct Undefined {
  std::shared_ptr<const std::string> why;
};
struct None {};

/// An integer that does not fit into 64 bits.
struct LargeInteger {
  std::string digits;  ///< decimal, without leading zeros, with "-" first if negative
};

/// A Python value, of the types that templates use. Containers never change after their creation, so copies share them.
class Value {
 public:
  Value() : data_(None{}) {}
  Value(bool value) : data_(value) {}
  Value(int64_t value) : data_(value) {}
  Value(double value) : data_(value) {}
  explicit Value(std::shared_ptr<const std::string> text) : data_(std::move(text)) {}
  explicit Value(std::shared_ptr<const Sequence> items) : data_(std::move(items)) {}
  explicit Value(std::shared_ptr<const Mapping> entries) : data_(std::move(entries)) {}
  explicit Value(std::shared_ptr<Object> object) : data_(std::move(object)) {}
  explicit Value(std::shared_ptr<const LargeInteger> integer) : data_(std::move(integer)) {}
  Value(const char*) = delete;  // would convert to bool
  static Value undefined(std::string why) {
    Value value;
    value.data_ = Undefined{std::make_shared<const std::string>(std::move(why))};
    return value;
  }

  bool is_undefined() const { return std::holds_alternative<Undefined>(data_); }
  bool is_none() const { return std::holds_alternative<None>(data_); }
  bool is_text() const { return std::holds_alternative<std::shared_ptr<const std::string>>(data_); }
  bool is_integer() const { return std::holds_alternative<int64_t>(data_); }
  bool is_bool() const { return std::holds_alternative<bool>(data_); }
  bool is_float() const { return std::holds_alternative<double>(data_); }
  /// Numbers that arithmetic supports: all but large integers.
  bool is_number() const { return is_integer() || is_bool() || is_float(); }
  bool is_large() const { return std::holds_alternative<std::shared_ptr<const LargeInteger>>(data_); }
  bool is_any_integer() const { return is_integer() || is_large(); }
  bool is_any_number() const { return is_number() || is_large(); }

  /// The text; only where is_text().
  const std::string& text() const { return *std::get<std::shared_ptr<const std::string>>(data_); }
  /// The digits of a large integer.
  const std::string& digits() const { return std::get<std::shared_ptr<const LargeInteger>>(data_)->digits; }
  const std::string& why() const { return *std::get<Undefined>(data_).why; }
  bool boolean() const { return std::get<bool>(data_); }
  /// An integer, or a bool as 0 or 1 as in Python; only for these types.
  int64_t integer() const { return is_bool() ? int64_t{boolean()} : std::get<int64_t>(data_); }
  double number() const { return is_float() ? std::get<double>(data_) : static_cast<double>(integer()); }
  /// Null if the value has another type, here and below.
  const Sequence* sequence() const { return pointer<std::shared_ptr<const Sequence>>(); }
  const Mapping* mapping() const { return pointer<std::shared_ptr<const Mapping>>(); }
  Object* object() const { return pointer<std::shared_ptr<Object>>(); }
  std::shared_ptr<Object> shared_object() const { return std::get<std::shared_ptr<Object>>(data_); }

  /// Python's name of the type ("str", "list"), for messages.
  std::string type() const;
  /// The nesting depth of lists and dicts: 0 for other values.
  int depth() const;

 private:
  template <typename Pointer>
  auto pointer() const -> decltype(std::declval<Pointer>().get()) {
    const auto* found = std::get_if<Pointer>(&data_);
    return found != nullptr ? found->get() : nullptr;
  }

  std::variant<None, Undefined, bool, int64_t, double, std::shared_ptr<const std::string>, std::shared_ptr<const Sequence>,
               std::shared_ptr<const Mapping>, std::shared_ptr<Object>, std::shared_ptr<const LargeInteger>>
      data_;
};

/// A list, or a value that behaves like one.
struct Sequence {
  enum class Kind {
    kList,
    kTuple,
    kRange,
    kKeys,  ///< views of a dict
    kValues,
    kItems,
    kIterator,  ///< can be iterated only once
  };
  std::vector<Value> items;
  Kind kind = Kind::kList;
  int depth = 1;
  mutable size_t taken = 0;  ///< the number of consumed items of an iterator

  bool is_view() const { return kind == Kind::kKeys || kind == Kind::kValues || kind == Kind::kItems; }
  /// Whether it has a length in Python.
  bool has_length() const { return kind != Kind::kIterator; }
  bool has_index() const { return has_length() && !is_view(); }
};

/// A dict: its entries keep their order.
struct Mapping {
  std::vector<std::pair<Value, Value>> entries;
  std::unordered_map<std::string_view, size_t> texts;  ///< indices of entries with a string as key; the keys own the texts
  int depth = 1;

  const Value* find(std::string_view key) const {
    const auto found = texts.find(key);
    return found != texts.end() ? &entries[found->second].second : nullptr;
  }
};

}  // namespace lora::tokenizer::jinja
