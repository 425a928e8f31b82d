#pragma once
#include <string>

#include "lora/tokenizer/tokenizer.h"

namespace lora::data {

/// BOS, the text's ids, EOS: BOS where the tokenizer's rules want it, EOS where it is asked for; each where it exists and does
/// not stand there already.
std::vector<int32_t> with_specials(const std::string& text, const tokenizer::Tokenizer& tokenizer, bool append_eos);

}  // namespace lora::data
