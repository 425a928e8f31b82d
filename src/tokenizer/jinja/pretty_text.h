#pragma once
#include <string>

#include "tokenizer/jinja/runtime.h"

namespace lora::tokenizer::jinja {

/// pprint.pformat: repr() with sorted keys, on several lines if it is longer than 80 characters.
std::string pretty_text(Runtime& runtime, const Value& value);

}  // namespace lora::tokenizer::jinja
