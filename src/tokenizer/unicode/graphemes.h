#pragma once
#include <functional>
#include <string_view>

namespace lora::tokenizer {

/// Calls `take` with each grapheme cluster (UAX #29) of `text` in order, as far as clusters of at most five bytes can tell: a
/// character with the marks behind it, and CR LF. Syllables, flags and emoji sequences are longer than that and come in parts.
void for_each_grapheme(std::string_view text, const std::function<void(std::string_view)>& take);

}  // namespace lora::tokenizer
