#pragma once
#include <string>

namespace lora::tokenizer {

/// The text of a built-in template; empty for an unknown name.
std::string builtin_template(const std::string& name);

}  // namespace lora::tokenizer
