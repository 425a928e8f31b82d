#pragma once
#include <string>

#include "lora/base/json.h"

namespace lora {

/// The value that was found instead of the expected one: "a string (\"x\")", "null".
inline std::string found_text(const Json& value) {
  return value.is_null() ? "null" : type_name(value) + " (" + shown(value) + ")";
}

}  // namespace lora
