#pragma once
#include <memory>

#include "tokenizer/json/normalizer.h"

namespace lora::tokenizer {

/// BertNormalizer: control characters out, spaces around CJK ideographs, accents off, lower case; each where it is asked for.
std::unique_ptr<Normalizer> read_bert_normalizer(const JsonReader& reader);

}  // namespace lora::tokenizer
