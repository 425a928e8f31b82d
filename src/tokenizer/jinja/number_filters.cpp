#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>

#include "tokenizer/jinja/filters.h"
#include "tokenizer/jinja/large_integers.h"
#include "tokenizer/jinja/operations.h"
#include "tokenizer/jinja/python_text.h"

namespace lora::tokenizer::jinja {
namespace {

/// A number's text without the underscores that Python allows between digits; empty if there are others.
std::optional<std::string> without_underscores(const std::string& text) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto is_digit_at = [&](size_t at) { return at < text.size() && std::isalnum(static_cast<unsigned char>(text[at])) != 0; };
    if (text[i] != '_') {
      result += text[i];
    } else if (i == 0 || !is_digit_at(i - 1) || !is_digit_at(i + 1)) {
      return std::nullopt;
    }
  }
  return result;
}

/// float(text); empty where Python raises ValueError.
std::optional<double> parse_float(const std::string& text) {
  auto digits = without_underscores(std::string(stripped(text, std::nullopt, true, true)));
  if (!digits) {
    return std::nullopt;
  }
  const bool has_plus = digits->starts_with('+');
  const std::string_view body = std::string_view(*digits).substr(has_plus ? 1 : 0);
  if (body.empty() || (has_plus && body.starts_with('-')) || body.find("nan(") != std::string_view::npos) {
    return std::nullopt;
  }
  double value = 0;
  const auto [end, error] = std::from_chars(body.data(), body.data() + body.size(), value);
  if (end != body.data() + body.size() || error == std::errc::invalid_argument) {
    return std::nullopt;
  }
  if (error == std::errc::result_out_of_range) {
    value = std::strtod(std::string(body).c_str(), nullptr);
  }
  return value;
}

/// int(text, base); empty where Python raises ValueError.
std::optional<Value> parse_integer(Runtime& runtime, const std::string& text, int64_t base) {
  auto clean = without_underscores(std::string(stripped(text, std::nullopt, true, true)));
  if (!clean || base < 0 || base == 1 || base > 36) {
    return std::nullopt;
  }
  std::string digits = lower(*clean);
  const bool negative = digits.starts_with('-');
  if (negative || digits.starts_with('+')) {
    digits.erase(0, 1);
  }
  for (const auto& [prefix, of_base] : {std::pair("0x", 16), std::pair("0o", 8), std::pair("0b", 2)}) {
    if (digits.starts_with(prefix) && (base == of_base || base == 0)) {
      digits.erase(0, 2);
      base = of_base;
    }
  }
  const bool may_be_zero = digits.find_first_not_of('0') == std::string::npos;
  if (base == 0 && digits.starts_with('0') && !may_be_zero) {
    return std::nullopt;
  }
  base = base == 0 ? 10 : base;
  if (base == 10 && !digits.empty() && std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; })) {
    return integer_of_digits(runtime, (negative ? "-" : "") + digits);
  }
  int64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, static_cast<int>(base));
  if (digits.empty() || digits.starts_with('-') || end != digits.data() + digits.size() || error == std::errc::invalid_argument) {
    return std::nullopt;
  }
  if (error == std::errc::result_out_of_range) {
    runtime.fail("an integer is too large: found more than 64 bits");
  }
  return Value(negative ? -value : value);
}

Value to_integer(Runtime& runtime, const Value& value, ArgumentReader& arguments) {
  const Value other = arguments.next("default").value_or(Value(int64_t{0}));
  const int64_t base = arguments.integer("base", 10);
  runtime.need_defined(value);
  if (value.is_integer() || value.is_bool()) {
    return value.integer();
  }
  if (value.is_large()) {
    return value;
  }
  if (value.is_float()) {
    if (std::isinf(value.number())) {
      runtime.fail("cannot convert float infinity to integer");
    }
    return std::isnan(value.number()) ? other : truncated(runtime, value.number());
  }
  if (!value.is_text()) {
    return other;
  }
  if (const auto whole = parse_integer(runtime, value.text(), base)) {
    return *whole;
  }
  const auto number = parse_float(value.text());
  return number && std::isfinite(*number) ? truncated(runtime, *number) : other;
}

Value to_float(Runtime& runtime, const Value& value, ArgumentReader& arguments) {
  const Value other = arguments.next("default").value_or(Value(0.0));
  runtime.need_defined(value);
  const auto number = float_of(value);
  return number ? Value(*number) : other;
}

Value absolute(Runtime& runtime, const Value& value, ArgumentReader&) {
  if (value.is_large()) {
    return value.digits().starts_with('-') ? negated(runtime, value) : value;
  }
  if (!value.is_number()) {
    runtime.need_defined(value);
    runtime.fail("bad operand type for abs(): '" + value.type() + "'");
  }
  if (value.is_float()) {
    return std::fabs(value.number());
  }
  return value.integer() < 0 ? negated(runtime, value) : Value(value.integer());
}

/// Python's round(): to the nearest decimal with `precision` digits, ties to even.
double rounded(double value, int64_t precision) {
  if (!std::isfinite(value) || precision > 22) {
    return value;
  }
  if (precision < 0) {
    const double unit = std::pow(10.0, static_cast<double>(std::min<int64_t>(-precision, 308)));
    return std::nearbyint(value / unit) * unit;
  }
  std::string text(400, '\0');
  const int size = std::snprintf(text.data(), text.size(), "%.*f", static_cast<int>(precision), value);
  text.resize(static_cast<size_t>(size));
  return std::strtod(text.c_str(), nullptr);
}

/// Python's round() of an integer to a multiple of 10^digits, ties to even.
Value rounded_to(Runtime& runtime, int64_t value, int64_t digits) {
  if (digits > 18) {
    return int64_t{0};
  }
  int64_t unit = 1;
  for (int64_t i = 0; i < digits; ++i) {
    unit *= 10;
  }
  const int64_t rest = ((value % unit) + unit) % unit;
  const int64_t below = value - rest;
  const bool goes_up = rest > unit / 2 || (rest == unit / 2 && unit > 1 && (below / unit) % 2 != 0);
  return binary(runtime, BinaryOperator::kAdd, below, Value(goes_up ? unit : int64_t{0}));
}

Value round(Runtime& runtime, const Value& value, ArgumentReader& arguments) {
  const int64_t precision = arguments.integer("precision", 0);
  const std::string method = arguments.text("method", "common");
  if (value.is_large() && method == "common" && precision >= 0) {
    return value;
  }
  if (value.is_large()) {
    runtime.fail("templates cannot compute with an integer of more than 64 bits: found " + value.digits());
  }
  if (!value.is_number()) {
    runtime.need_defined(value);
    runtime.fail("type " + value.type() + " doesn't define __round__ method");
  }
  if (method == "common") {
    if (!value.is_float() && precision >= 0) {
      return value.integer();
    }
    if (!value.is_float()) {
      return rounded_to(runtime, value.integer(), -precision);
    }
    return rounded(value.number(), precision);
  }
  if ((method != "ceil" && method != "floor") || precision < 0 || precision > 300) {
    runtime.fail("round(): the method must be common, ceil or floor, and the precision of the last two from 0 to 300");
  }
  const double unit = std::pow(10.0, static_cast<double>(precision));
  const double scaled = value.number() * unit;
  return (method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / unit;
}

}  // namespace

std::optional<double> float_of(const Value& value) {
  if (value.is_number()) {
    return value.number();
  }
  return value.is_text() || value.is_large() ? parse_float(value.is_large() ? value.digits() : value.text()) : std::nullopt;
}

const FilterTable& number_filters() {
  static const FilterTable kFilters{{"int", to_integer}, {"float", to_float}, {"abs", absolute}, {"round", round}};
  return kFilters;
}

}  // namespace lora::tokenizer::jinja
