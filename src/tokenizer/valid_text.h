#pragma once
#include <string_view>

namespace lora::tokenizer {

/// Throws data Error if `text` is not valid UTF-8 (lone surrogates are invalid).
void require_valid_text(std::string_view text);

}  // namespace lora::tokenizer
