#pragma once
#include <functional>
#include <string_view>

namespace lora::tokenizer {

/// Calls `take` with each extended grapheme cluster (UAX #29) of `text` in order: a character with the marks after it, a syllable,
/// an emoji of several parts. Takes linear time.
void for_each_grapheme(std::string_view text, const std::function<void(std::string_view)>& take);

}  // namespace lora::tokenizer
