#pragma once
#include <string>
#include <string_view>

#include "tokenizer/jinja/failure.h"

namespace lora::tokenizer::jinja {

/// The value of a string literal's inside, with Python's escapes. Throws Failure at `at` for one that is none.
std::string unescaped(std::string_view literal, Position at);

}  // namespace lora::tokenizer::jinja
