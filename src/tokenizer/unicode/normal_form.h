#pragma once
#include <string>

#include "tokenizer/unicode/aligned_text.h"

namespace lora::tokenizer {

/// Unicode's normal forms (UAX #15).
enum class NormalForm { kNfc, kNfd, kNfkc, kNfkd };

/// `input` in a normal form, as `tokenizers` sees it: it knows Unicode 9, so that every later character stays as it is.
AlignedText to_normal_form(AlignedText input, NormalForm form);

}  // namespace lora::tokenizer
