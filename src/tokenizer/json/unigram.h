#pragma once
#include "tokenizer/json/model.h"

namespace lora::tokenizer {

/// Reads the section "model" of type Unigram: the most probable segmentation of each piece (Kudo, arXiv:1804.10959). Throws model
/// Error naming `where`.
std::unique_ptr<TokenModel> read_unigram(const Json& model, const std::string& where);

}  // namespace lora::tokenizer
