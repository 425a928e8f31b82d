#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "lora/nn/model.h"
#include "lora/tokenizer/chat_template.h"

namespace lora::app {

/// The control tokens that a chat template writes around the messages' contents.
struct ControlTokens {
  std::vector<int32_t> ids;          ///< special tokens, sorted and unique
  std::vector<std::string> missing;  ///< texts such as <|im_start|> that are not tokens of the tokenizer
  bool ends_turns = false;           ///< the assistant's turn ends with a token, not with plain text
};

/// The control tokens in a short trial conversation; empty if the template refuses it.
ControlTokens control_tokens(const tokenizer::ChatTemplate& chat_template, const tokenizer::Tokenizer& tokenizer);

/// Those of `ids` whose embeddings look untrained: they are close to those of unused tokens (<unused7>, <|reserved_special_token_7|>, rows
/// beyond the vocabulary), or equal those of other special tokens. Empty if this run trains the embedding, or the model has none.
std::vector<int32_t> untrained_tokens(const std::vector<int32_t>& ids, const tokenizer::Tokenizer& tokenizer, nn::Model& model);

}  // namespace lora::app
