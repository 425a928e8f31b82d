#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lora/base/json.h"

namespace lora::tokenizer {

/// What the files beside a model's vocabulary say about BOS, EOS and tokens added to it.
struct SpecialTokens {
  std::optional<int32_t> bos;
  std::optional<int32_t> eos;
  bool add_bos = true;
  bool add_eos = false;
  std::map<int32_t, std::string> added;      ///< tokens with ids behind the model's own pieces
  std::vector<std::filesystem::path> files;  ///< those read
};

/// What the vocabulary itself knows.
struct Vocabulary {
  int32_t num_pieces = 0;
  std::optional<int32_t> bos;
  std::optional<int32_t> eos;
  std::function<std::optional<int32_t>(const std::string&)> find;  ///< id of a piece by its exact name
};

/// The text of a token in tokenizer_config.json: a string, or an object with "content". Throws model Error naming `where` and
/// `key` for anything else.
std::string token_content(const Json& token, const std::string& key, const std::string& where);

/// take(id, key, token) for each entry of tokenizer_config.json's added_tokens_decoder, {"32000": {"content": "<pad>", …}, …}; the
/// key is the id's text. Throws model Error naming `where` for what is no such object.
void for_each_added_token(const Json& tokens, const std::string& where,
                          const std::function<void(int64_t id, const std::string& key, const Json& token)>& take);

/// Reads tokenizer_config.json and added_tokens.json in `folder`, where there are such. bos_token and eos_token (a
/// string, or an object with "content") come before the vocabulary's own; null means that there is none. Throws model
/// Error for a malformed file and for a token that neither the vocabulary nor the added tokens have.
SpecialTokens read_special_tokens(const std::filesystem::path& folder, const Vocabulary& vocabulary);

}  // namespace lora::tokenizer
