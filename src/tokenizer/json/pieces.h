#pragma once
#include <deque>
#include <string>
#include <string_view>
#include <vector>

namespace lora::tokenizer {

/// A part of a text after splitting by the pre-tokenizers.
struct TextPiece {
  std::string_view text;
  size_t num_first = 0;  ///< as AlignedText::num_first
};
using Pieces = std::vector<TextPiece>;

/// Owns the texts that pieces refer to after a pre-tokenizer has created new ones.
class Arena {
 public:
  std::string_view keep(std::string text) { return texts_.emplace_back(std::move(text)); }

 private:
  std::deque<std::string> texts_;
};

}  // namespace lora::tokenizer
