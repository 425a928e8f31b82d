#pragma once
#include "tokenizer/json/model.h"

namespace lora::tokenizer {

/// Read the section "model" of type WordPiece (repeatedly the longest token from the left: Wu et al., arXiv:1609.08144)
/// and WordLevel (one token per word). Throw model Error naming `where`.
std::unique_ptr<TokenModel> read_wordpiece(const Json& model, const std::string& where);
std::unique_ptr<TokenModel> read_wordlevel(const Json& model, const std::string& where);

}  // namespace lora::tokenizer
