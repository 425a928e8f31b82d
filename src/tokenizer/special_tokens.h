#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "tokenizer/folder_settings.h"

namespace lora::tokenizer {

/// BOS, EOS and added tokens according to a SentencePiece model and the files in its folder.
struct SpecialTokens {
  std::optional<int32_t> bos;
  std::optional<int32_t> eos;
  bool add_bos = true;
  bool add_eos = false;
  std::map<int32_t, std::string> added;  ///< tokens with ids after the model's own pieces
  std::set<int32_t> plain;               ///< the added tokens that are not special
};

/// The vocabulary's own information.
struct Vocabulary {
  int32_t num_pieces = 0;
  std::optional<int32_t> bos;
  std::optional<int32_t> eos;
  std::function<std::optional<int32_t>(const std::string&)> find;  ///< the id of a piece by its exact name
};

/// The roles of the settings take precedence over the vocabulary's own. A BOS or EOS that is neither in the vocabulary nor among the added
/// tokens becomes a new token, as in transformers, with a warning that names `where`.
SpecialTokens find_special_tokens(const FolderSettings& settings, const Vocabulary& vocabulary, const std::string& where);

}  // namespace lora::tokenizer
