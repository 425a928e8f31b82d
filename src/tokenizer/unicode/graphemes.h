#pragma once
#include <functional>
#include <string_view>

namespace lora::tokenizer {

/// Calls `take` with each extended grapheme cluster (UAX #29) of `text` in order: a character with the marks behind it, a syllable,
/// an emoji of several parts. In time that grows with the text alone.
void for_each_grapheme(std::string_view text, const std::function<void(std::string_view)>& take);

}  // namespace lora::tokenizer
