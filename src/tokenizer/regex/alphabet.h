#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "tokenizer/unicode/code_points.h"

namespace lora::tokenizer {

/// Maps code points to the letters of a small alphabet: code points that belong to the same of the given sets share a letter. A regular
/// expression over these sets then works on one byte per character, without a Unicode table.
class Alphabet {
 public:
  /// Throws model Error naming `where` if the sets distinguish more than 256 kinds of characters.
  Alphabet(const std::vector<CodePoints>& sets, const std::string& where);

  uint8_t letter(char32_t code) const { return letters_[size_t{pages_[code >> 8]} << 8 | (code & 255)]; }
  /// The letters of a set's code points, sorted.
  const std::vector<uint8_t>& letters_of(size_t set) const { return members_[set]; }
  size_t size() const { return size_; }

  /// The letters of the characters of `text`, which must be valid UTF-8.
  std::vector<uint8_t> spell(std::string_view text) const;

 private:
  std::vector<uint16_t> pages_;   ///< pages of 256 code points each; equal ones are shared
  std::vector<uint8_t> letters_;  ///< 256 per page
  std::vector<std::vector<uint8_t>> members_;
  size_t size_ = 0;
};

}  // namespace lora::tokenizer
