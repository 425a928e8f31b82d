#include "tokenizer/jinja/large_integers.h"

#include <charconv>
#include <cmath>
#include <cstdio>

namespace lora::tokenizer::jinja {
namespace {

std::string decimal_text(double whole) {
  std::string text(400, '\0');
  const int size = std::snprintf(text.data(), text.size(), "%.0f", whole);
  text.resize(static_cast<size_t>(size));
  return text;
}

int compare_sizes(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) {
    return a.size() < b.size() ? -1 : 1;
  }
  const int order = a.compare(b);
  return order < 0 ? -1 : order > 0 ? 1 : 0;
}

int compare_digits(std::string_view a, std::string_view b) {
  const bool negative = a.starts_with('-');
  if (negative != b.starts_with('-')) {
    return negative ? -1 : 1;
  }
  return negative ? compare_sizes(b.substr(1), a.substr(1)) : compare_sizes(a, b);
}

/// A float of more than 64 bits has no fraction.
std::string digits_of(const Value& value) {
  if (value.is_large()) {
    return value.digits();
  }
  return value.is_float() ? decimal_text(std::trunc(value.number())) : std::to_string(value.integer());
}

}  // namespace

Value integer_of_digits(Runtime& runtime, std::string_view digits) {
  digits.remove_prefix(digits.starts_with('+') ? 1 : 0);
  int64_t value = 0;
  if (std::from_chars(digits.data(), digits.data() + digits.size(), value).ec == std::errc()) {
    return value;
  }
  const bool negative = digits.starts_with('-');
  const std::string_view size = digits.substr(digits.find_first_not_of("-0"));
  runtime.reserve(size.size() + sizeof(LargeInteger));
  return Value(std::make_shared<const LargeInteger>(LargeInteger{(negative ? "-" : "") + std::string(size)}));
}

Value truncated(Runtime& runtime, double value) {
  return integer_of_digits(runtime, decimal_text(std::trunc(value)));
}

int compare_large(const Value& a, const Value& b) {
  if ((a.is_float() && std::isnan(a.number())) || (b.is_float() && std::isnan(b.number()))) {
    return 2;
  }
  if (a.is_float() && std::isinf(a.number())) {
    return a.number() < 0 ? -1 : 1;
  }
  if (b.is_float() && std::isinf(b.number())) {
    return b.number() < 0 ? 1 : -1;
  }
  return compare_digits(digits_of(a), digits_of(b));
}

}  // namespace lora::tokenizer::jinja
