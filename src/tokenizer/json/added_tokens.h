#pragma once
#include <map>
#include <set>
#include <string>
#include <vector>

#include "tokenizer/json/normalizer.h"
#include "tokenizer/json/token_table.h"
#include "tokenizer/json/trie.h"

namespace lora::tokenizer {

/// A token that is found in the text as it stands, before the model sees the rest.
struct AddedToken {
  std::string content;
  bool single_word = false;  ///< not within a word
  bool lstrip = false;       ///< takes the spaces before it
  bool rstrip = false;       ///< takes the spaces behind it
  bool normalized = false;   ///< its normalised form is looked for in the normalised text
  bool special = false;      ///< left out of decoded text

  bool operator==(const AddedToken&) const = default;
};

/// Reads one {"content": …, "single_word": …, …}. Throws model Error naming `where`.
AddedToken read_added_token(const Json& token, const std::string& where);

/// The added tokens of a tokenizer, by the rules of `tokenizers`' AddedVocabulary.
class AddedTokens {
 public:
  /// Tokens that the model has keep their ids; others get the next ones behind the ids of the model and of what was added
  /// before. An empty one is left out, one of a known content replaces it. Throws model Error naming `where` for content that is
  /// too long, or that normalises to nothing.
  void add(const std::vector<AddedToken>& tokens, const TokenTable& vocabulary, const Normalizers& normalizers, const std::string& where);

  std::optional<int32_t> id(const std::string& content) const;
  /// The token's text for decoding: its normalised form where that is what the text holds.
  const std::string* decoded(int32_t id) const;
  const AddedToken* find(int32_t id) const;
  bool is_special(const std::string& content) const { return special_.contains(content); }
  /// One more than the largest id.
  int32_t end() const { return tokens_.empty() ? 0 : tokens_.rbegin()->first + 1; }

  /// A part of a text: an added token, or text between (-1).
  struct Part {
    size_t begin;
    size_t end;
    int32_t id;
  };
  /// Cuts a text at the tokens that are looked for as it came (`normalized` false) or normalised. `with_special` false: special
  /// tokens are text like any other.
  std::vector<Part> cut(std::string_view text, bool normalized, bool with_special) const;

  /// Makes the search ready; to be called after the last add().
  void prepare();

 private:
  void put(const AddedToken& token, int32_t id, const Normalizers& normalizers, const std::string& where);

  struct Search {
    std::optional<Trie> trie;
    std::array<bool, 256> begins{};  ///< the bytes that a token begins with
  };
  struct Entry {
    AddedToken token;
    std::string pattern;  ///< what is looked for
  };

  std::map<int32_t, Entry> tokens_;
  std::map<std::string, int32_t> ids_;
  std::set<std::string> special_;
  Search plain_;
  Search normalized_;
};

}  // namespace lora::tokenizer
