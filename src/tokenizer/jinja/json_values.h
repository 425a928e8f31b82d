#pragma once
#include "lora/base/json.h"
#include "tokenizer/jinja/runtime.h"

namespace lora::tokenizer::jinja {

/// The value that Python's json.loads gives for JSON. Fails for an integer of more than 64 bits.
Value value_of(Runtime& runtime, const Json& json);

}  // namespace lora::tokenizer::jinja
