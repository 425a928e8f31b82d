#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace lora::tokenizer {

/// GPT-2's spelling of bytes as printable characters: each byte is one code point below 324.
char32_t byte_character(unsigned char byte);
/// The byte that a code point spells, nothing for one that spells none.
std::optional<unsigned char> character_byte(char32_t code);
/// Every byte of `text` spelt.
std::string spell_bytes(std::string_view text);

}  // namespace lora::tokenizer
