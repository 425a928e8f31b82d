#include <map>

#include "lora/base/text.h"
#include "tokenizer/jinja/filters.h"
#include "tokenizer/jinja/operations.h"
#include "tokenizer/jinja/python_text.h"

namespace lora::tokenizer::jinja {
namespace {

bool is_boolean(const Value& value, bool needed) {
  return value.is_bool() && value.boolean() == needed;
}

int64_t remainder_of(Runtime& runtime, const Value& value, int64_t divisor) {
  const Value rest = binary(runtime, BinaryOperator::kModulo, value, Value(divisor));
  return rest.is_number() && rest.number() == 0 ? 0 : rest.is_number() && rest.number() == 1 ? 1 : 2;
}

void need_hashable(Runtime& runtime, const Value& value) {
  if (!is_hashable(value)) {
    runtime.fail("unhashable type: '" + value.type() + "'");
  }
}

bool names_a_filter(Runtime& runtime, const Value& value, ArgumentReader&) {
  need_hashable(runtime, value);
  return value.is_text() && is_filter(value.text());
}

bool names_a_test(Runtime& runtime, const Value& value, ArgumentReader&) {
  need_hashable(runtime, value);
  return value.is_text() && is_test(value.text());
}

bool is_sequence(Runtime&, const Value& value, ArgumentReader&) {
  const Sequence* items = value.sequence();
  return value.is_text() || value.mapping() != nullptr || value.is_undefined() || (items != nullptr && items->has_index());
}

template <bool kSwapped, bool kNegated>
bool compare(Runtime& runtime, const Value& value, ArgumentReader& arguments) {
  const Value other = arguments.required("other");
  return (kSwapped ? is_less(runtime, other, value) : is_less(runtime, value, other)) != kNegated;
}

bool same(Runtime& runtime, const Value& value, ArgumentReader& arguments) {
  return equals(runtime, value, arguments.required("other"));
}

bool different(Runtime& runtime, const Value& value, ArgumentReader& arguments) {
  return !equals(runtime, value, arguments.required("other"));
}

bool is_divisible(Runtime& runtime, const Value& value, ArgumentReader& arguments) {
  const Value rest = binary(runtime, BinaryOperator::kModulo, value, arguments.required("num"));
  return rest.is_number() && rest.number() == 0;
}

bool is_in(Runtime& runtime, const Value& value, ArgumentReader& arguments) {
  return contains(runtime, arguments.required("seq"), value);
}

bool is_callable(Runtime&, const Value& value, ArgumentReader&) {
  return value.is_undefined() || (value.object() != nullptr && value.object()->is_callable());
}

bool same_object(Runtime& runtime, const Value& value, ArgumentReader& arguments) {
  const Value other = arguments.required("other");
  return value.type() == other.type() && value.sequence() == other.sequence() && value.mapping() == other.mapping() &&
         equals(runtime, value, other);
}

using TestTable = std::map<std::string, Test>;

template <bool (Value::*kIs)() const>
bool is_type(Runtime&, const Value& value, ArgumentReader&) {
  return (value.*kIs)();
}

/// Tests of the value alone.
const TestTable& plain_tests() {
  static const TestTable kTests{
      {"undefined", is_type<&Value::is_undefined>},
      {"none", is_type<&Value::is_none>},
      {"boolean", is_type<&Value::is_bool>},
      {"integer", is_type<&Value::is_any_integer>},
      {"float", is_type<&Value::is_float>},
      {"number", is_type<&Value::is_any_number>},
      {"string", is_type<&Value::is_text>},
      {"defined", [](Runtime&, const Value& value, ArgumentReader&) { return !value.is_undefined(); }},
      {"true", [](Runtime&, const Value& value, ArgumentReader&) { return is_boolean(value, true); }},
      {"false", [](Runtime&, const Value& value, ArgumentReader&) { return is_boolean(value, false); }},
      {"mapping", [](Runtime&, const Value& value, ArgumentReader&) { return value.mapping() != nullptr; }},
      {"iterable", [](Runtime&, const Value& value, ArgumentReader&) { return is_iterable(value); }},
      {"sequence", is_sequence},
      {"callable", is_callable},
      {"escaped", [](Runtime&, const Value&, ArgumentReader&) { return false; }},
      {"lower", [](Runtime& runtime, const Value& value, ArgumentReader&) { return is_lower(text_of(runtime, value)); }},
      {"upper", [](Runtime& runtime, const Value& value, ArgumentReader&) { return is_upper(text_of(runtime, value)); }},
      {"odd", [](Runtime& runtime, const Value& value, ArgumentReader&) { return remainder_of(runtime, value, 2) == 1; }},
      {"even", [](Runtime& runtime, const Value& value, ArgumentReader&) { return remainder_of(runtime, value, 2) == 0; }},
      {"filter", names_a_filter},
      {"test", names_a_test},
  };
  return kTests;
}

/// Tests that compare the value with another one.
const TestTable& comparing_tests() {
  static const TestTable kTests{
      {"divisibleby", is_divisible},
      {"in", is_in},
      {"sameas", same_object},
      {"==", same},
      {"eq", same},
      {"equalto", same},
      {"!=", different},
      {"ne", different},
      {"<", compare<false, false>},
      {"lt", compare<false, false>},
      {"lessthan", compare<false, false>},
      {">", compare<true, false>},
      {"gt", compare<true, false>},
      {"greaterthan", compare<true, false>},
      {"<=", compare<true, true>},
      {"le", compare<true, true>},
      {">=", compare<false, true>},
      {"ge", compare<false, true>},
  };
  return kTests;
}

Test find_test(const std::string& name) {
  for (const TestTable* table : {&plain_tests(), &comparing_tests()}) {
    if (const auto found = table->find(name); found != table->end()) {
      return found->second;
    }
  }
  return nullptr;
}

}  // namespace

bool is_test(const std::string& name) {
  return find_test(name) != nullptr;
}

bool apply_test(Runtime& runtime, const std::string& name, const Value& value, const Arguments& arguments) {
  const Test test = find_test(name);
  if (test == nullptr) {
    std::vector<std::string> names;
    for (const TestTable* table : {&plain_tests(), &comparing_tests()}) {
      for (const auto& entry : *table) {
        names.push_back(entry.first);
      }
    }
    runtime.fail("there is no test '" + printable(name) + "'" + did_you_mean(name, names));
  }
  runtime.work(1);
  ArgumentReader reader(runtime, name, arguments);
  const bool result = test(runtime, value, reader);
  reader.finish();
  return result;
}

}  // namespace lora::tokenizer::jinja
