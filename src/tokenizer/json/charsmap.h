#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/unicode/aligned_text.h"

namespace lora::tokenizer {

/// SentencePiece's compiled table of replacements, applied as in `tokenizers`: to each grapheme cluster of less than six bytes
/// as a whole, otherwise to each character; the shortest rule that matches the beginning of the part is used.
class Charsmap {
 public:
  /// `blob`: the bytes of precompiled_charsmap. Throws model Error naming `where` if it is damaged.
  Charsmap(std::string blob, const std::string& where);

  AlignedText normalize(const AlignedText& input) const;

 private:
  /// The replacement of `part`; empty if there is no rule.
  std::optional<std::string_view> replacement(std::string_view part) const;
  void put_cluster(std::string_view text, size_t begin, size_t size, AlignedWriter& writer) const;

  std::vector<uint32_t> units_;
  std::string replacements_;  ///< concatenated, each with a NUL after it
};

/// Decodes base64 text. Throws model Error naming `where` for invalid text.
std::string decode_base64(std::string_view text, const std::string& where);

}  // namespace lora::tokenizer
