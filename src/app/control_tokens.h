#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "lora/nn/model.h"
#include "lora/tokenizer/chat_template.h"

namespace lora::app {

/// What a chat template writes around the messages' contents.
struct ControlTokens {
  std::vector<int32_t> ids;          ///< special tokens, each once, rising
  std::vector<std::string> missing;  ///< texts such as <|im_start|> that are no token of the tokenizer's
  bool ends_turns = false;           ///< the assistant's turn ends with a token, not with plain text
};

/// Found in a short conversation; nothing where the template refuses it.
ControlTokens control_tokens(const tokenizer::ChatTemplate& chat_template, const tokenizer::Tokenizer& tokenizer);

/// Those of `ids` whose embeddings look as if no text of the model's training had held them: they lie beside those of tokens that are
/// unused by their names (<unused7>, <|reserved_special_token_7|>, rows beyond the vocabulary), or equal those of other special tokens.
/// None where the model's embedding is trained now, or there is none.
std::vector<int32_t> untrained_tokens(const std::vector<int32_t>& ids, const tokenizer::Tokenizer& tokenizer, nn::Model& model);

}  // namespace lora::app
