#pragma once
#include <string_view>

#include "tokenizer/jinja/statements.h"

namespace lora::tokenizer::jinja {

/// A template as a tree.
struct Program {
  Block block;
  bool has_generation = false;  ///< it marks what the assistant says
};

/// Throws Failure for what is not the language, for what of it is not supported, and for a tree beyond the limits.
Program parse(std::string_view source, const Limits& limits);

}  // namespace lora::tokenizer::jinja
