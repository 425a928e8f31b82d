#pragma once
#include <string>

#include "lora/base/json.h"

namespace lora {

/// What there is in place of an expected value: "a string (\"x\")", "null".
inline std::string found_text(const Json& value) {
  return value.is_null() ? "null" : type_name(value) + " (" + shown(value) + ")";
}

}  // namespace lora
