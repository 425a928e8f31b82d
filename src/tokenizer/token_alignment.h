#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "lora/tokenizer/tokenizer.h"

namespace lora::tokenizer {

/// The bytes that a token's name represents: for byte-level names the bytes that they spell, otherwise the name with "▁" replaced by a
/// space and "<0x41>" by its byte.
std::string token_bytes(std::string_view name, bool byte_level);

/// The bytes of `text` that each token represents, found by walking through both in parallel. This is exact where the tokens' bytes equal
/// the text, possibly with an added space before it; where a normalizer changed the text or a token is unknown, the tokens of the changed
/// part share its bytes. Spans contain whole characters; a space added before a text gets the span of its first character.
std::vector<TextSpan> align_tokens(std::string_view text, const std::vector<std::string>& tokens);

}  // namespace lora::tokenizer
