#pragma once
#include <string>
#include <string_view>

namespace lora::tokenizer {

inline constexpr std::string_view kSpaceSymbol = "\xe2\x96\x81";  // U+2581, a space inside pieces

/// A piece with its space symbols replaced by spaces.
inline std::string with_spaces(std::string_view piece) {
  std::string text;
  while (!piece.empty()) {
    if (piece.starts_with(kSpaceSymbol)) {
      text += ' ';
      piece.remove_prefix(kSpaceSymbol.size());
    } else {
      text += piece.front();
      piece.remove_prefix(1);
    }
  }
  return text;
}

}  // namespace lora::tokenizer
