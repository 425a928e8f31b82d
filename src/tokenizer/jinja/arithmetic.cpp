#include <array>
#include <cmath>
#include <cstdio>
#include <limits>

#include "tokenizer/jinja/large_integers.h"
#include "tokenizer/jinja/operations.h"
#include "tokenizer/jinja/python_text.h"

namespace lora::tokenizer::jinja {
namespace {

constexpr const char* kNames[] = {"+", "-", "*", "/", "//", "%", "**"};

[[noreturn]] void fail_types(Runtime& runtime, BinaryOperator op, const Value& a, const Value& b) {
  runtime.need_defined(a);
  runtime.need_defined(b);
  runtime.fail(std::string("unsupported operand types for ") + kNames[static_cast<size_t>(op)] + ": '" + a.type() + "' and '" + b.type() +
               "'");
}

[[noreturn]] void fail_large(Runtime& runtime) {
  runtime.fail("an integer is too large: found more than 64 bits");
}

void need_small(Runtime& runtime, const Value& value) {
  if (value.is_large()) {
    runtime.fail("templates cannot compute with an integer of more than 64 bits: found " + value.digits());
  }
}

[[noreturn]] void fail_zero(Runtime& runtime) {
  runtime.fail("division by zero");
}

int64_t floor_divided(int64_t a, int64_t b) {
  const int64_t quotient = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? quotient - 1 : quotient;
}

double float_modulo(double a, double b) {
  double rest = std::fmod(a, b);
  if (rest != 0 && (rest < 0) != (b < 0)) {
    rest += b;
  }
  return rest == 0 ? std::copysign(0.0, b) : rest;
}

double float_floor_divided(double a, double b) {
  const double quotient = (a - float_modulo(a, b)) / b;
  const double floored = std::floor(quotient);
  return quotient == 0 ? std::copysign(0.0, a / b) : quotient - floored > 0.5 ? floored + 1 : floored;
}

Value integer_power(Runtime& runtime, int64_t base, int64_t exponent) {
  if (exponent < 0) {
    return base == 0 ? (fail_zero(runtime), Value()) : Value(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
  }
  if (base == 0 || base == 1 || base == -1) {
    return exponent == 0 ? int64_t{1} : base == -1 && exponent % 2 == 0 ? int64_t{1} : base;
  }
  int64_t result = 1;
  for (; exponent > 0; --exponent) {  // at most 63 times: then it is too large
    if (__builtin_mul_overflow(result, base, &result)) {
      fail_large(runtime);
    }
  }
  return result;
}

Value integer_result(Runtime& runtime, BinaryOperator op, int64_t a, int64_t b) {
  int64_t result = 0;
  bool overflows = false;
  const bool divides = op == BinaryOperator::kDivide || op == BinaryOperator::kFloorDivide || op == BinaryOperator::kModulo;
  if (divides && b == 0) {
    fail_zero(runtime);
  }
  switch (op) {
    case BinaryOperator::kAdd:
      overflows = __builtin_add_overflow(a, b, &result);
      break;
    case BinaryOperator::kSubtract:
      overflows = __builtin_sub_overflow(a, b, &result);
      break;
    case BinaryOperator::kMultiply:
      overflows = __builtin_mul_overflow(a, b, &result);
      break;
    case BinaryOperator::kDivide:
      return static_cast<double>(static_cast<long double>(a) / static_cast<long double>(b));
    case BinaryOperator::kFloorDivide:
      overflows = a == std::numeric_limits<int64_t>::min() && b == -1;
      result = overflows ? 0 : floor_divided(a, b);
      break;
    case BinaryOperator::kModulo:
      result = b == -1 ? 0 : a - floor_divided(a, b) * b;
      break;
    case BinaryOperator::kPower:
      return integer_power(runtime, a, b);
  }
  return overflows ? (fail_large(runtime), Value()) : Value(result);
}

Value float_result(Runtime& runtime, BinaryOperator op, double a, double b) {
  const bool divides = op == BinaryOperator::kDivide || op == BinaryOperator::kFloorDivide || op == BinaryOperator::kModulo;
  if (divides && b == 0) {
    fail_zero(runtime);
  }
  switch (op) {
    case BinaryOperator::kAdd:
      return a + b;
    case BinaryOperator::kSubtract:
      return a - b;
    case BinaryOperator::kMultiply:
      return a * b;
    case BinaryOperator::kDivide:
      return a / b;
    case BinaryOperator::kFloorDivide:
      return float_floor_divided(a, b);
    case BinaryOperator::kModulo:
      return float_modulo(a, b);
    case BinaryOperator::kPower:
      break;
  }
  const double power = std::pow(a, b);
  if (a == 0 && b < 0) {
    fail_zero(runtime);
  }
  if (std::isnan(power) && !std::isnan(a) && !std::isnan(b)) {
    runtime.fail("the power is a complex number, which templates do not have");
  }
  if (std::isinf(power) && !std::isinf(a) && !std::isinf(b)) {
    runtime.fail("the power is too large for a float");
  }
  return power;
}

Value repeated(Runtime& runtime, const Value& value, int64_t count) {
  const size_t times = count > 0 ? static_cast<size_t>(count) : 0;
  const auto check = [&](size_t bytes) {
    if (bytes != 0 && times > std::numeric_limits<size_t>::max() / 2 / bytes) {
      fail_large(runtime);
    }
    runtime.reserve(bytes * times);
  };
  if (value.is_text()) {
    check(value.text().size());
    std::string text;
    text.reserve(value.text().size() * times);
    for (size_t i = 0; i < times && !value.text().empty(); ++i) {
      text += value.text();
    }
    return runtime.text(std::move(text));
  }
  const Sequence& source = *value.sequence();
  check(source.items.size() * sizeof(Value));
  std::vector<Value> items;
  for (size_t i = 0; i < times && !source.items.empty(); ++i) {
    items.insert(items.end(), source.items.begin(), source.items.end());
  }
  return runtime.list(std::move(items), source.kind);
}

bool is_list_or_tuple(const Value& value) {
  const Sequence* items = value.sequence();
  return items != nullptr && (items->kind == Sequence::Kind::kList || items->kind == Sequence::Kind::kTuple);
}

bool repeats(const Value& a, const Value& b) {
  return (a.is_text() || is_list_or_tuple(a)) && (b.is_integer() || b.is_bool());
}

Value joined(Runtime& runtime, const Value& a, const Value& b) {
  if (a.is_text() && b.is_text()) {
    runtime.reserve(a.text().size() + b.text().size());
    return runtime.text(a.text() + b.text());
  }
  if (!is_list_or_tuple(a) || !is_list_or_tuple(b) || a.sequence()->kind != b.sequence()->kind) {
    fail_types(runtime, BinaryOperator::kAdd, a, b);
  }
  runtime.reserve((a.sequence()->items.size() + b.sequence()->items.size()) * sizeof(Value));
  std::vector<Value> items = a.sequence()->items;
  items.insert(items.end(), b.sequence()->items.begin(), b.sequence()->items.end());
  return runtime.list(std::move(items), a.sequence()->kind);
}

}  // namespace

Value binary(Runtime& runtime, BinaryOperator op, const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) {
    return a.is_float() || b.is_float() ? float_result(runtime, op, a.number(), b.number())
                                        : integer_result(runtime, op, a.integer(), b.integer());
  }
  if (op == BinaryOperator::kModulo && a.is_text()) {
    return runtime.text(formatted(runtime, a.text(), b));
  }
  need_small(runtime, a);
  need_small(runtime, b);
  if (op == BinaryOperator::kAdd) {
    return joined(runtime, a, b);
  }
  if (op == BinaryOperator::kMultiply && repeats(a, b)) {
    return repeated(runtime, a, b.integer());
  }
  if (op == BinaryOperator::kMultiply && repeats(b, a)) {
    return repeated(runtime, b, a.integer());
  }
  fail_types(runtime, op, a, b);
}

Value negated(Runtime& runtime, const Value& value) {
  runtime.need_defined(value);
  if (value.is_float()) {
    return -value.number();
  }
  if (value.is_large()) {
    return integer_of_digits(runtime, value.digits().starts_with('-') ? value.digits().substr(1) : "-" + value.digits());
  }
  if (!value.is_number()) {
    runtime.fail("bad operand type for unary -: '" + value.type() + "'");
  }
  return integer_result(runtime, BinaryOperator::kSubtract, 0, value.integer());
}

}  // namespace lora::tokenizer::jinja
