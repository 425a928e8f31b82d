#pragma once
#include <string_view>

#include "tokenizer/jinja/statements.h"

namespace lora::tokenizer::jinja {

/// The syntax tree of a template.
struct Program {
  Block block;
  bool has_generation = false;  ///< it marks the assistant's text
};

/// Throws Failure for a syntax error, for an unsupported feature, and for a tree beyond the limits.
Program parse(std::string_view source, const Limits& limits);

}  // namespace lora::tokenizer::jinja
