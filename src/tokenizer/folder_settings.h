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

/// A token with a role such as "eos_token"; none where the files say that there is none.
using RoleToken = std::pair<std::string, std::optional<AddedToken>>;

/// What the files beside a vocabulary say, read as AutoTokenizer of transformers 5 reads them: tokenizer_config.json; where that has
/// no added_tokens_decoder also special_tokens_map.json, whose tokens come first, and added_tokens.json.
struct FolderSettings {
  std::string tokenizer_class;          ///< what AutoTokenizer makes of the folder; "TokenizersBackend": tokenizer.json as it stands
  std::vector<RoleToken> roles;         ///< the usual seven in transformers' order, then those of the model's own
  std::vector<AddedToken> extra;        ///< special tokens without a role
  std::map<int64_t, AddedToken> added;  ///< by id
  bool has_decoder = false;             ///< there is an added_tokens_decoder, so that the older files and tokenizer.json add nothing
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
  bool is_older_mistral = false;              ///< config.json is that of a Mistral model, or of an unnamed one, from before transformers 5
  bool split_special_tokens = false;          ///< the text of special tokens is plain text, everywhere
  bool clean_up_tokenization_spaces = false;  ///< in decoded text
  std::optional<int32_t> bos_id;              ///< config.json's, where the other files say nothing of a BOS
  std::optional<int32_t> eos_id;
  std::vector<std::filesystem::path> files;  ///< those read

  /// The token with that role; null where the files name none.
  const AddedToken* role(const std::string& name) const;
  /// Whether the files say something of that role, be it that there is none.
  bool says(const std::string& name) const;
  /// Whether a token of that text has one of the seven usual roles.
  bool has_role(const std::string& content) const;
  /// Every special token that is named: those with a role, then the others.
  std::vector<const AddedToken*> special_tokens() const;
  /// Writes the roles that the files speak of over those that are there.
  void name_tokens(std::map<std::string, std::string>& names) const;
  /// Puts the roles into their order: tokens that a vocabulary lacks get ids in it.
  void order_roles();
};

/// Reads what there is of these files in `folder`. Warns of keys that are not known. Throws model Error for a malformed file.
FolderSettings read_folder_settings(const std::filesystem::path& folder);

/// The text of a token: a string, or an object with "content". Throws model Error naming `where` and `key` for anything else.
std::string token_content(const Json& token, const std::string& key, const std::string& where);

}  // namespace lora::tokenizer
