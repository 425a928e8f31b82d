#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "tokenizer/jinja/runtime.h"

namespace lora::tokenizer::jinja {

struct WrapStyle {
  int64_t width = 79;  ///< in characters, at least 1
  bool breaks_long_words = true;
  bool breaks_on_hyphens = true;
};

/// textwrap.wrap with expand_tabs and replace_whitespace off: the lines of a paragraph.
std::vector<std::string> wrapped_lines(Runtime& runtime, const std::string& paragraph, const WrapStyle& style);

}  // namespace lora::tokenizer::jinja
