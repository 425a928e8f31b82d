#pragma once
#include <cstddef>
#include <string_view>

namespace lora {

/// Bytes of the well-formed code point at `at` (Unicode 15, table 3-7), or 0.
size_t code_point_length(std::string_view text, size_t at);

/// The code point of `length` bytes at `at`.
unsigned code_point_at(std::string_view text, size_t at, size_t length);

}  // namespace lora
