#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

#include "lora/tokenizer/tokenizer.h"

namespace lora::tokenizer {

/// Ids of a text that always has the same length.
struct FixedLengthIds {
  std::vector<int32_t> ids;
  int64_t num_cut = 0;  ///< tokens of the text that had no room
};

/// The ids that transformers' `tokenizer(text, padding="max_length", truncation=True, max_length=length)` gives: the special tokens around
/// the text, whose end is cut where it has no room, and the pad token after them. Throws model Error if the tokenizer has no pad token,
/// and data Error if `text` is not valid UTF-8.
FixedLengthIds encode_to_length(const Tokenizer& tokenizer, std::string_view text, int64_t length);

}  // namespace lora::tokenizer
