#pragma once
#include <string>
#include <string_view>

#include "tokenizer/jinja/runtime.h"

// Python's integers have no largest. Those beyond 64 bits keep their digits: they can be written, compared, and passed on, but
// not computed with.
namespace lora::tokenizer::jinja {

/// The integer of decimal digits, which may begin with a sign.
Value integer_of_digits(Runtime& runtime, std::string_view digits);
/// A finite float without its fraction.
Value truncated(Runtime& runtime, double value);

/// -1, 0 or 1 of two numbers, one of which at least is a large integer; 2 where the other is NaN.
int compare_large(const Value& a, const Value& b);

}  // namespace lora::tokenizer::jinja
