#pragma once
#include <string>

#include "tokenizer/unicode/aligned_text.h"

namespace lora::tokenizer {

/// Unicode's normal forms (UAX #15).
enum class NormalForm { kNfc, kNfd, kNfkc, kNfkd };

/// `input` in a normal form, as in `tokenizers`, which uses Unicode 9: later characters are unchanged.
AlignedText to_normal_form(AlignedText input, NormalForm form);

}  // namespace lora::tokenizer
