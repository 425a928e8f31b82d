#include "tokenizer/json/wordpiece.h"

#include "lora/base/error.h"
#include "lora/base/text.h"
#include "tokenizer/json/trie.h"
#include "tokenizer/unicode/utf8.h"

namespace lora::tokenizer {
namespace {

/// The common part of the models of whole words: their vocabulary and the unknown token.
class WordModel : public TokenModel {
 public:
  WordModel(TokenTable vocabulary, std::string unk_token, std::string where)
      : vocabulary_(std::move(vocabulary)), unk_token_(std::move(unk_token)), where_(std::move(where)) {}

  const TokenTable& vocabulary() const override { return vocabulary_; }

  void encode(const Pieces& pieces, std::vector<int32_t>& ids) const override {
    for (const TextPiece& piece : pieces) {
      const size_t before = ids.size();
      if (!add_word(piece.text, ids)) {
        ids.resize(before);
        ids.push_back(unknown_id());
      }
    }
  }

 protected:
  /// Appends the word's ids; false if it is unknown.
  virtual bool add_word(std::string_view word, std::vector<int32_t>& ids) const = 0;

 private:
  int32_t unknown_id() const {
    const auto id = vocabulary_.id(unk_token_);
    if (!id) {
      model_error(where_ + ".unk_token", "a text needs the unknown token " + printable(unk_token_) +
                                             ", which the vocabulary does not have. Likely cause: a damaged file.");
    }
    return *id;
  }

  TokenTable vocabulary_;
  std::string unk_token_;
  std::string where_;
};

class WordLevel : public WordModel {
 public:
  using WordModel::WordModel;

 protected:
  bool add_word(std::string_view word, std::vector<int32_t>& ids) const override {
    const auto id = vocabulary().id(word);
    if (id) {
      ids.push_back(*id);
    }
    return id.has_value();
  }
};

class WordPiece : public WordModel {
 public:
  WordPiece(TokenTable vocabulary, std::string unk_token, std::string where, const std::string& prefix, size_t max_characters)
      : WordModel(std::move(vocabulary), std::move(unk_token), std::move(where)),
        max_characters_(max_characters),
        trie_({this->vocabulary().ids().begin(), this->vocabulary().ids().end()}),
        continuing_(trie_.walk(Trie::kRoot, prefix)) {}

 protected:
  bool add_word(std::string_view word, std::vector<int32_t>& ids) const override {
    if (is_too_long(word)) {
      return false;
    }
    for (Trie::Node start = Trie::kRoot; !word.empty(); start = continuing_) {
      const auto match = start == Trie::kNone ? std::nullopt : trie_.longest(start, word);
      if (!match) {
        return false;
      }
      ids.push_back(match->value);
      word.remove_prefix(match->size);
    }
    return true;
  }

 private:
  bool is_too_long(std::string_view word) const {
    size_t count = 0;
    for (size_t at = 0; at < word.size() && count <= max_characters_; ++count) {
      at += utf8_length(static_cast<unsigned char>(word[at]));
    }
    return count > max_characters_;
  }

  size_t max_characters_;
  Trie trie_;
  Trie::Node continuing_;  ///< after the prefix of tokens that continue a word
};

}  // namespace

std::unique_ptr<TokenModel> read_wordpiece(const Json& model, const std::string& where) {
  const JsonReader reader(model, where, ErrorKind::kModel);
  const int64_t max_characters = reader.integer("max_input_chars_per_word");
  if (max_characters < 0) {
    reader.fail("max_input_chars_per_word", "a number of characters");
  }
  const std::string prefix = reader.string("continuing_subword_prefix");
  return std::make_unique<WordPiece>(read_token_table(reader.at("vocab"), where + ".vocab"), reader.string("unk_token"), where, prefix,
                                     static_cast<size_t>(max_characters));
}

std::unique_ptr<TokenModel> read_wordlevel(const Json& model, const std::string& where) {
  const JsonReader reader(model, where, ErrorKind::kModel);
  return std::make_unique<WordLevel>(read_token_table(reader.at("vocab"), where + ".vocab"), reader.string("unk_token"), where);
}

}  // namespace lora::tokenizer
