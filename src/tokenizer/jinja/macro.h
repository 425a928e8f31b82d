#pragma once
#include "tokenizer/jinja/statements.h"

namespace lora::tokenizer::jinja {

/// A macro that sees the names of `scope` with their values at the time of the call.
Value make_macro(Runtime& runtime, const MacroBody& body, ScopePtr scope);

}  // namespace lora::tokenizer::jinja
