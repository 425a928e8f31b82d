#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "lora/generate/detokenizer.h"
#include "lora/generate/stop_strings.h"

namespace lora::generate {

/// The text of one completion as its tokens arrive, up to the first stop string, in final pieces.
class TextStream {
 public:
  /// `tokenizer` must outlive this.
  TextStream(const tokenizer::Tokenizer& tokenizer, const std::vector<int32_t>& prompt, std::vector<std::string> stops)
      : tokenizer_(tokenizer), detokenizer_(tokenizer, prompt), stops_(std::move(stops)) {}

  /// Adds a token and returns the text that is now certain. A control token is not part of the text, but may be part of a stop string.
  std::string push(int32_t id) {
    std::string text = stops_.push(detokenizer_.push(id));
    return tokenizer_.is_special(id) ? text + stops_.push_hidden(tokenizer_.token(id)) : text;
  }
  /// Whether a stop string occurred.
  bool stopped() const { return stops_.stopped(); }
  /// Returns the text that is still held back, after the last token.
  std::string finish() {
    std::string rest = stops_.push(detokenizer_.finish());
    return rest + stops_.finish();
  }

 private:
  const tokenizer::Tokenizer& tokenizer_;
  Detokenizer detokenizer_;
  StopStrings stops_;
};

}  // namespace lora::generate
