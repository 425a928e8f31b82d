#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "lora/base/json.h"

// JSON as Python's json module reads and writes it: NaN, Infinity and -Infinity are numbers, and integers have any size.
namespace lora {

/// parse_json that also reads these numbers; integers may have at most 308 digits.
Json parse_python_json(std::string_view text, const std::string& where, ErrorKind kind, int64_t first_line = 1);

/// The digits, with their sign, of an integer that does not fit into 64 bits; empty for any other value.
std::optional<std::string> large_integer(const Json& value);

/// One line of JSON text, which may contain these numbers. Bytes that are not UTF-8 are replaced.
std::string json_line(const Json& value);

}  // namespace lora
