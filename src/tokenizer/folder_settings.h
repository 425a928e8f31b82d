#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "lora/base/json.h"
#include "tokenizer/json/added_tokens.h"

namespace lora::tokenizer {

/// A role such as "eos_token" and its token; no token if the files state that there is none.
using RoleToken = std::pair<std::string, std::optional<AddedToken>>;

/// The settings from the files next to a vocabulary, read as AutoTokenizer of transformers 5 reads them: tokenizer_config.json, and if it
/// has no added_tokens_decoder also special_tokens_map.json, whose tokens take precedence, and added_tokens.json.
struct FolderSettings {
  std::string tokenizer_class;          ///< the class that AutoTokenizer uses; "TokenizersBackend": tokenizer.json unchanged
  std::vector<RoleToken> roles;         ///< the usual seven in transformers' order, then model-specific ones
  std::vector<AddedToken> extra;        ///< special tokens without a role
  std::map<int64_t, AddedToken> added;  ///< by id
  bool has_decoder = false;             ///< there is an added_tokens_decoder: the older files and tokenizer.json add no tokens
  std::optional<bool> add_bos_token;
  std::optional<bool> add_eos_token;
  std::optional<bool> add_prefix_space;
  std::optional<bool> do_lower_case;
  std::optional<bool> strip_accents;
  std::optional<bool> tokenize_chinese_chars;
  std::optional<bool> legacy;
  std::optional<bool> keep_accents;
  std::optional<bool> split_by_punct;
  bool fix_mistral_regex = false;
  bool is_older_mistral = false;              ///< config.json is of a Mistral model or has no type, and is from before transformers 5
  bool split_special_tokens = false;          ///< special tokens in texts are encoded as plain text
  bool clean_up_tokenization_spaces = false;  ///< in decoded text
  std::optional<int32_t> bos_id;              ///< from config.json, if the other files do not mention a BOS
  std::optional<int32_t> eos_id;
  std::vector<std::filesystem::path> files;  ///< the files that were read

  /// The token with this role; null if the files name none.
  const AddedToken* role(const std::string& name) const;
  /// Whether the files mention this role, even if only to state that it has no token.
  bool says(const std::string& name) const;
  /// Whether a token with this text has one of the seven usual roles.
  bool has_role(const std::string& content) const;
  /// Every named special token: those with a role, then the others.
  std::vector<const AddedToken*> special_tokens() const;
  /// Overrides `names` with the roles that the files mention.
  void name_tokens(std::map<std::string, std::string>& names) const;
  /// Sorts the roles: tokens that the vocabulary lacks get their ids in this order.
  void order_roles();
};

/// Reads those of these files that exist in `folder`. Warns of unknown keys. Throws model Error for a malformed file.
FolderSettings read_folder_settings(const std::filesystem::path& folder);

/// The text of a token: a string, or an object with "content". Throws model Error naming `where` and `key` for anything else.
std::string token_content(const Json& token, const std::string& key, const std::string& where);

}  // namespace lora::tokenizer
