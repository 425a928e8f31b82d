#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace lora::tokenizer {

/// GPT-2's spelling of bytes as printable characters: each byte is one code point below 324.
char32_t byte_character(unsigned char byte);
/// The byte that a code point represents; empty if it represents none.
std::optional<unsigned char> character_byte(char32_t code);
/// `text` with every byte spelled this way.
std::string spell_bytes(std::string_view text);

}  // namespace lora::tokenizer
