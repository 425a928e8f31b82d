#pragma once
#include <string>

namespace lora::tokenizer {

/// The text of a built-in template, empty for a name that there is not.
std::string builtin_template(const std::string& name);

}  // namespace lora::tokenizer
