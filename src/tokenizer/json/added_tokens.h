#pragma once
#include <map>
#include <set>
#include <string>
#include <vector>

#include "tokenizer/json/normalizer.h"
#include "tokenizer/json/token_table.h"
#include "tokenizer/json/trie.h"

namespace lora::tokenizer {

/// A token that is found in the text before the model encodes the rest.
struct AddedToken {
  std::string content;
  bool single_word = false;  ///< not within a word
  bool lstrip = false;       ///< includes the spaces before it
  bool rstrip = false;       ///< includes the spaces after it
  bool normalized = false;   ///< its normalized form is searched for in the normalized text
  bool special = false;      ///< omitted from decoded text

  bool operator==(const AddedToken&) const = default;
};

/// Reads one {"content": …, "single_word": …, …}. Throws model Error naming `where`.
AddedToken read_added_token(const Json& token, const std::string& where);

/// The added tokens of a tokenizer, by the rules of `tokenizers`' AddedVocabulary.
class AddedTokens {
 public:
  /// Tokens that the model has keep their ids; others get the next ids after those of the model and of the tokens added
  /// before. An empty token is ignored; one with known content replaces the earlier one. Throws model Error naming `where` for content that
  /// is too long or that normalizes to nothing.
  void add(const std::vector<AddedToken>& tokens, const TokenTable& vocabulary, const Normalizers& normalizers, const std::string& where);

  std::optional<int32_t> id(const std::string& content) const;
  /// The token's text for decoding: its normalized form if that is searched for.
  const std::string* decoded(int32_t id) const;
  const AddedToken* find(int32_t id) const;
  bool is_special(const std::string& content) const { return special_.contains(content); }
  /// One more than the largest id.
  int32_t end() const { return tokens_.empty() ? 0 : tokens_.rbegin()->first + 1; }

  /// A part of a text: an added token, or the text between them (id -1).
  struct TextPart {
    size_t begin;
    size_t end;
    int32_t id;
  };
  /// Splits a text at the tokens that are searched for in the original (`normalized` false) or the normalized text. Without
  /// `with_special`, special tokens are plain text.
  std::vector<TextPart> cut(std::string_view text, bool normalized, bool with_special) const;

  /// Prepares the search. Must be called after the last add().
  void prepare();

 private:
  void put(const AddedToken& token, int32_t id, const Normalizers& normalizers, const std::string& where);

  struct Search {
    std::optional<Trie> trie;
    std::array<bool, 256> begins{};  ///< the first bytes of tokens
  };
  struct Entry {
    AddedToken token;
    std::string pattern;  ///< the text that is searched for
  };

  std::map<int32_t, Entry> tokens_;
  std::map<std::string, int32_t> ids_;
  std::set<std::string> special_;
  Search plain_;
  Search normalized_;
};

}  // namespace lora::tokenizer
