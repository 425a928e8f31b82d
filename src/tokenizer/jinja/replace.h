#pragma once
#include <string>

#include "tokenizer/jinja/runtime.h"

namespace lora::tokenizer::jinja {

/// str.replace, at most `count` times; -1: no limit.
std::string replaced(Runtime& runtime, const std::string& text, const std::string& old, const std::string& with, int64_t count);

}  // namespace lora::tokenizer::jinja
