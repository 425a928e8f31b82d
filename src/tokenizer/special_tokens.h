#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "tokenizer/folder_settings.h"

namespace lora::tokenizer {

/// What a SentencePiece model and the files beside it say together about BOS, EOS and tokens added to it.
struct SpecialTokens {
  std::optional<int32_t> bos;
  std::optional<int32_t> eos;
  bool add_bos = true;
  bool add_eos = false;
  std::map<int32_t, std::string> added;  ///< tokens with ids behind the model's own pieces
  std::set<int32_t> plain;               ///< those of them that are no special tokens
};

/// What the vocabulary itself knows.
struct Vocabulary {
  int32_t num_pieces = 0;
  std::optional<int32_t> bos;
  std::optional<int32_t> eos;
  std::function<std::optional<int32_t>(const std::string&)> find;  ///< id of a piece by its exact name
};

/// The roles of the settings come before the vocabulary's own. A BOS or EOS that neither the vocabulary nor the added tokens have
/// becomes a new token, as in transformers; that is warned of, naming `where`.
SpecialTokens find_special_tokens(const FolderSettings& settings, const Vocabulary& vocabulary, const std::string& where);

}  // namespace lora::tokenizer
