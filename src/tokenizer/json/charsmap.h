#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/unicode/aligned_text.h"

namespace lora::tokenizer {

/// SentencePiece's compiled table of replacements, as `tokenizers` applies it: to each grapheme cluster of less than six bytes
/// as a whole, else to each character; the shortest rule that the part begins with decides.
class Charsmap {
 public:
  /// `blob`: the bytes of precompiled_charsmap. Throws model Error naming `where` if it is damaged.
  Charsmap(std::string blob, const std::string& where);

  AlignedText normalize(const AlignedText& input) const;

 private:
  /// What stands for `part`, where there is a rule.
  std::optional<std::string_view> replacement(std::string_view part) const;
  void put_cluster(std::string_view text, size_t begin, size_t size, AlignedWriter& writer) const;

  std::vector<uint32_t> units_;
  std::string replacements_;  ///< one after the other, each with a NUL behind it
};

/// The bytes of a base64 text. Throws model Error naming `where` for another text.
std::string decode_base64(std::string_view text, const std::string& where);

}  // namespace lora::tokenizer
