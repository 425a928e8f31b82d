#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "lora/tokenizer/tokenizer.h"

namespace lora::generate {

/// Decodes tokens as they arrive. The concatenated pieces equal the text after the prompt when all ids are decoded at once: a
/// SentencePiece space is kept that decoding only the new tokens would lose, and no piece ends within a character of several byte
/// tokens. One exception: if characters made of byte tokens are followed by bytes that are not text, a tokenizer.json with
/// ByteFallback shows the whole run as U+FFFD, while here the characters that were already emitted are kept.
class Detokenizer {
 public:
  /// `tokenizer` must outlive this.
  Detokenizer(const tokenizer::Tokenizer& tokenizer, const std::vector<int32_t>& prompt);

  /// Adds a token and returns the text that is now certain.
  std::string push(int32_t id);
  /// Returns the text that is still held back, at the end: bytes that never became a character are shown as U+FFFD.
  std::string finish();

 private:
  std::string decoded() const { return tokenizer_.decode(window_); }
  void realign(const std::string& text);
  void shorten_window(const std::string& text);

  const tokenizer::Tokenizer& tokenizer_;
  std::vector<int32_t> window_;  ///< the last tokens, as many as decoding the next one needs
  std::string shown_;            ///< the part of the window's text that was emitted
};

}  // namespace lora::generate
