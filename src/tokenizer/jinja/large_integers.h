#pragma once
#include <string>
#include <string_view>

#include "tokenizer/jinja/runtime.h"

// Python's integers are unlimited. Those beyond 64 bits keep their digits: they can be printed, compared and passed on, but
// not used in arithmetic.
namespace lora::tokenizer::jinja {

/// The integer of decimal digits, which may begin with a sign.
Value integer_of_digits(Runtime& runtime, std::string_view digits);
/// A finite float as an integer, without its fraction.
Value truncated(Runtime& runtime, double value);

/// -1, 0 or 1 for two numbers of which at least one is a large integer; 2 if the other is NaN.
int compare_large(const Value& a, const Value& b);

}  // namespace lora::tokenizer::jinja
