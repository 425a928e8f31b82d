#pragma once
#include <cstdint>
#include <string>

#include "lora/base/text.h"

namespace lora {

/// "1 row", "1,234 rows". `plural`: needed where it is not the singular with an s.
inline std::string counted(int64_t count, const std::string& singular, const std::string& plural = "") {
  return with_thousands(count) + " " + (count == 1 ? singular : plural.empty() ? singular + "s" : plural);
}

}  // namespace lora
