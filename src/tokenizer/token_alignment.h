#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "lora/tokenizer/tokenizer.h"

namespace lora::tokenizer {

/// The bytes that a token's name stands for: of byte-level names the bytes that they spell, else the name with spaces for "▁" and
/// the byte of "<0x41>".
std::string token_bytes(std::string_view name, bool byte_level);

/// Which bytes of `text` each token stands for, by going through both at once. Where the tokens' bytes are the text, perhaps with a
/// space put before it, that is exact; where a normalizer changed the text or a token is unknown, the tokens of a changed place
/// share it. Spans hold whole characters, a space that is put before a text that of its first character.
std::vector<TextSpan> align_tokens(std::string_view text, const std::vector<std::string>& tokens);

}  // namespace lora::tokenizer
