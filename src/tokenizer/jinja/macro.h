#pragma once
#include "tokenizer/jinja/statements.h"

namespace lora::tokenizer::jinja {

/// A macro that sees the names of `scope`, as they are when it is called.
Value make_macro(Runtime& runtime, const MacroBody& body, ScopePtr scope);

}  // namespace lora::tokenizer::jinja
