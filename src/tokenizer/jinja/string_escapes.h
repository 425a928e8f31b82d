#pragma once
#include <string>
#include <string_view>

#include "tokenizer/jinja/failure.h"

namespace lora::tokenizer::jinja {

/// The value of the inside of a string literal, with Python's escapes. Throws Failure at `at` for an invalid escape.
std::string unescaped(std::string_view literal, Position at);

}  // namespace lora::tokenizer::jinja
