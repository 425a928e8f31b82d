#include "tokenizer/json/bpe.h"

#include <cstdio>

#include "lora/base/error.h"
#include "lora/base/text.h"
#include "tokenizer/json/byte_level.h"
#include "tokenizer/unicode/utf8.h"

namespace lora::tokenizer {
namespace {

/// The name of the token of one byte, <0x0A>.
std::string byte_token(unsigned byte) {
  char name[8];
  std::snprintf(name, sizeof(name), "<0x%02X>", byte);
  return name;
}

}  // namespace

Bpe::Bpe(TokenTable vocabulary, PairTable pairs, BpeOptions options, std::string where)
    : vocabulary_(std::move(vocabulary)), pairs_(std::move(pairs)), options_(std::move(options)), where_(std::move(where)) {
  low_ids_.fill(-1);
  for (const auto& [token, id] : vocabulary_.ids()) {
    if (token.empty() || utf8_length(static_cast<unsigned char>(token.front())) != token.size()) {
      continue;
    }
    size_t at = 0;
    const char32_t code = next_code_point(token, at);
    code < low_ids_.size() ? low_ids_[code] = id : high_ids_[code] = id;
  }
  for (unsigned byte = 0; options_.byte_fallback && byte < 256; ++byte) {
    byte_ids_[byte] = vocabulary_.id(byte_token(byte));
  }
}

int32_t Bpe::character_id(char32_t code) const {
  if (code < low_ids_.size()) {
    return low_ids_[code];
  }
  const auto found = high_ids_.find(code);
  return found != high_ids_.end() ? found->second : -1;
}

std::string Bpe::with_affixes(std::string_view character, bool first, bool last) const {
  return (first ? "" : options_.continuing_subword_prefix) + std::string(character) + (last ? options_.end_of_word_suffix : "");
}

int32_t Bpe::affixed_id(std::string_view character, bool first, bool last) const {
  return vocabulary_.id(with_affixes(character, first, last)).value_or(-1);
}

bool Bpe::add_bytes(std::string_view character, bool first, bool last, std::vector<int32_t>& symbols) const {
  const std::string bytes = with_affixes(character, first, last);
  for (const char byte : bytes) {
    if (!byte_ids_[static_cast<unsigned char>(byte)]) {
      return false;
    }
  }
  for (const char byte : bytes) {
    symbols.push_back(*byte_ids_[static_cast<unsigned char>(byte)]);
  }
  return true;
}

int32_t Bpe::unknown_id() const {
  const auto id = vocabulary_.id(*options_.unk_token);
  if (!id) {
    model_error(where_, "a text needs the unknown token " + printable(*options_.unk_token) + ", which the vocabulary does not have. " +
                            "Likely cause: a damaged file.");
  }
  return *id;
}

// One id per character. An unknown token is only added when the next character is known not to be unknown, too; byte tokens do not
// trigger that, as in `tokenizers`.
void Bpe::spell(std::string_view word, std::vector<int32_t>& symbols) const {
  int32_t waiting = -1;
  for (size_t at = 0; at < word.size();) {
    const size_t begin = at;
    const char32_t code = options_.reads_bytes ? byte_character(static_cast<unsigned char>(word[at++])) : next_code_point(word, at);
    const bool first = begin == 0;
    const bool last = at == word.size();
    const bool has_affix = (!first && !options_.continuing_subword_prefix.empty()) || (last && !options_.end_of_word_suffix.empty());
    std::string character;
    if (has_affix || options_.byte_fallback) {
      append_utf8(character, code);
    }
    const int32_t id = has_affix ? affixed_id(character, first, last) : character_id(code);
    if (id >= 0) {
      if (waiting >= 0) {
        symbols.push_back(waiting);
        waiting = -1;
      }
      symbols.push_back(id);
    } else if (!(options_.byte_fallback && add_bytes(character, first, last, symbols)) && options_.unk_token) {
      if (waiting >= 0 && !options_.fuse_unk) {
        symbols.push_back(waiting);
      }
      waiting = unknown_id();
    }
  }
  if (waiting >= 0) {
    symbols.push_back(waiting);
  }
}

void Bpe::encode_word(std::string_view word, Merger& merger, std::vector<int32_t>& symbols) const {
  symbols.clear();
  if (options_.ignore_merges) {
    if (const auto id = options_.reads_bytes ? vocabulary_.id(spell_bytes(word)) : vocabulary_.id(word)) {
      symbols.push_back(*id);
      return;
    }
  }
  spell(word, symbols);
  merger.merge(symbols);
}

void Bpe::encode(const Pieces& pieces, std::vector<int32_t>& ids) const {
  Merger merger(pairs_);
  std::vector<int32_t> symbols;
  cache_.encode_each(pieces, ids, [&](std::string_view word) -> const std::vector<int32_t>& {
    encode_word(word, merger, symbols);
    return symbols;
  });
}

}  // namespace lora::tokenizer
