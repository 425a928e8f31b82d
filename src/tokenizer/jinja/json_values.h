#pragma once
#include "lora/base/json.h"
#include "tokenizer/jinja/runtime.h"

namespace lora::tokenizer::jinja {

/// JSON as Python's json.loads gives it. Fails for an integer of more than 64 bits.
Value value_of(Runtime& runtime, const Json& json);

}  // namespace lora::tokenizer::jinja
