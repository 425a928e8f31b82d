#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "lora/tokenizer/tokenizer.h"

namespace lora::generate {

/// Text of tokens as they come, so that the pieces put together are what follows the prompt's text in the text of all ids
/// decoded at once: a SentencePiece space stays where decoding the new tokens alone would lose it, and no piece ends within
/// a character whose bytes are tokens. One thing differs: where characters made of byte tokens are followed by bytes that are no
/// text, a tokenizer.json with ByteFallback shows the whole run as U+FFFD, and here the characters that were given out stand.
class Detokenizer {
 public:
  /// `tokenizer` must live longer.
  Detokenizer(const tokenizer::Tokenizer& tokenizer, const std::vector<int32_t>& prompt);

  /// What became certain with one more token.
  std::string push(int32_t id);
  /// What is held back, at the end: bytes that never became a character show as U+FFFD.
  std::string finish();

 private:
  std::string decoded() const { return tokenizer_.decode(window_); }
  void realign(const std::string& text);
  void shorten_window(const std::string& text);

  const tokenizer::Tokenizer& tokenizer_;
  std::vector<int32_t> window_;  ///< the last tokens: as many as decoding the next one needs to know
  std::string shown_;            ///< what was given out of the window's text
};

}  // namespace lora::generate
