#pragma once
#include <memory>

#include "tokenizer/json/normalizer.h"

namespace lora::tokenizer {

/// BertNormalizer: removes control characters, adds spaces around CJK ideographs, strips accents, lowercases; each if requested.
std::unique_ptr<Normalizer> read_bert_normalizer(const JsonReader& reader);

}  // namespace lora::tokenizer
