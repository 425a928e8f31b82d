#pragma once
#include <string>
#include <string_view>

namespace lora::tokenizer {

inline constexpr std::string_view kReplacementCharacter = "\xef\xbf\xbd";  // U+FFFD

/// `bytes` as valid UTF-8: each longest prefix of a truncated character, and each byte that cannot begin a character, is replaced by
/// U+FFFD (Unicode, section 3.9, "substitution of maximal subparts").
std::string lossy_utf8(std::string_view bytes);

}  // namespace lora::tokenizer
