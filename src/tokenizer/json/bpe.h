#pragma once
#include <array>
#include <memory>

#include "tokenizer/json/merger.h"
#include "tokenizer/json/model.h"
#include "tokenizer/json/word_cache.h"

namespace lora::tokenizer {

struct BpeOptions {
  std::optional<std::string> unk_token;
  std::string continuing_subword_prefix;  ///< before every character of a word except the first
  std::string end_of_word_suffix;         ///< after the last character
  bool fuse_unk = false;                  ///< adjacent unknown characters become one unknown token
  bool byte_fallback = false;             ///< an unknown character becomes the tokens <0x00> to <0xFF> of its bytes
  bool ignore_merges = false;             ///< a word that is a token is not split
  bool reads_bytes = false;               ///< pieces are plain text, while the vocabulary spells bytes (ByteLevel)
};

/// Byte pair encoding, on characters or on bytes.
class Bpe : public TokenModel {
 public:
  Bpe(TokenTable vocabulary, PairTable pairs, BpeOptions options, std::string where);

  const TokenTable& vocabulary() const override { return vocabulary_; }
  void encode(const Pieces& pieces, std::vector<int32_t>& ids) const override;

 private:
  int32_t character_id(char32_t code) const;
  int32_t affixed_id(std::string_view character, bool first, bool last) const;
  bool add_bytes(std::string_view character, bool first, bool last, std::vector<int32_t>& symbols) const;
  std::string with_affixes(std::string_view character, bool first, bool last) const;
  int32_t unknown_id() const;
  void spell(std::string_view word, std::vector<int32_t>& symbols) const;
  void encode_word(std::string_view word, Merger& merger, std::vector<int32_t>& symbols) const;

  TokenTable vocabulary_;
  PairTable pairs_;
  BpeOptions options_;
  std::string where_;
  std::array<int32_t, 512> low_ids_;                  ///< ids of single characters below 512; -1: none
  std::unordered_map<char32_t, int32_t> high_ids_;    ///< ids of the other characters
  std::array<std::optional<int32_t>, 256> byte_ids_;  ///< <0x00> to <0xFF>
  mutable WordCache cache_;
};

/// Reads the section "model" of type BPE. Throws model Error naming `where`.
std::unique_ptr<TokenModel> read_bpe(const Json& model, const std::string& where, bool reads_bytes);

}  // namespace lora::tokenizer
