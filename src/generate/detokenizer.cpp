#include "lora/generate/detokenizer.h"

#include <algorithm>
#include <string_view>

namespace lora::generate {

namespace {

constexpr std::string_view kReplacement = "\xef\xbf\xbd";  // U+FFFD, what a tokenizer writes for a byte that is no text
constexpr size_t kLongWindow = 64;
constexpr size_t kShortWindow = 8;

/// How much of a text cannot change with the next token: all but the bytes at its end that may begin a character, which
/// are at most three.
size_t certain_length(std::string_view text) {
  for (int i = 0; i < 3 && text.ends_with(kReplacement); ++i) {
    text.remove_suffix(kReplacement.size());
  }
  return text.size();
}

}  // namespace

Detokenizer::Detokenizer(const tokenizer::Tokenizer& tokenizer, const std::vector<int32_t>& prompt)
    : tokenizer_(tokenizer), window_(prompt) {
  const std::string text = decoded();
  shown_ = certain_length(text);
  shorten_window(text);
}

std::string Detokenizer::push(int32_t id) {
  window_.push_back(id);
  const std::string text = decoded();
  const size_t certain = certain_length(text);
  const std::string piece = certain > shown_ ? text.substr(shown_, certain - shown_) : "";
  shown_ += piece.size();
  shorten_window(text);
  return piece;
}

std::string Detokenizer::finish() {
  const std::string text = decoded();
  const std::string rest = text.substr(std::min(shown_, text.size()));
  shown_ = text.size();
  return rest;
}

void Detokenizer::shorten_window(const std::string& text) {
  if (window_.size() <= kLongWindow || shown_ != text.size()) {
    return;
  }
  // A tail with text of its own, in whole characters, decodes what follows as the whole does: only at the very beginning
  // of a text is a space dropped.
  const std::vector<int32_t> tail(window_.end() - kShortWindow, window_.end());
  const std::string tail_text = tokenizer_.decode(tail);
  if (!tail_text.empty() && text.ends_with(tail_text) && tail_text.find(kReplacement) == std::string::npos) {
    window_ = tail;
    shown_ = tail_text.size();
  }
}

}  // namespace lora::generate
