#include "lora/generate/detokenizer.h"

#include <algorithm>
#include <string_view>

namespace lora::generate {

namespace {

constexpr std::string_view kReplacement = "\xef\xbf\xbd";  // U+FFFD, which a tokenizer writes for a byte that is not text
constexpr size_t kLongWindow = 64;
constexpr size_t kShortWindow = 8;

/// The length of the prefix of a text that the next token cannot change: everything except bytes at the end, at most three, that may
/// begin a character.
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
  shown_ = text.substr(0, certain_length(text));
  shorten_window(text);
}

std::string Detokenizer::push(int32_t id) {
  window_.push_back(id);
  const std::string text = decoded();
  if (!text.starts_with(shown_)) {
    if (text.ends_with(kReplacement)) {
      return "";  // the bytes may still become a character
    }
    realign(text);
  }
  const size_t certain = certain_length(text);
  const std::string piece = certain > shown_.size() ? text.substr(shown_.size(), certain - shown_.size()) : "";
  shown_ += piece;
  shorten_window(text);
  return piece;
}

std::string Detokenizer::finish() {
  const std::string text = decoded();
  if (!text.starts_with(shown_)) {
    realign(text);
  }
  const std::string rest = text.substr(shown_.size());
  shown_ = text;
  return rest;
}

// A run of bytes that is not valid text as a whole is shown as one U+FFFD per byte: what was already emitted of it counts as that many.
void Detokenizer::realign(const std::string& text) {
  size_t common = static_cast<size_t>(std::mismatch(text.begin(), text.end(), shown_.begin(), shown_.end()).first - text.begin());
  while (common > 0 && common < text.size() && (static_cast<unsigned char>(text[common]) & 0xc0) == 0x80) {
    --common;
  }
  shown_ = text.substr(0, common + kReplacement.size() * (shown_.size() - common));
}

void Detokenizer::shorten_window(const std::string& text) {
  if (window_.size() <= kLongWindow || shown_.size() != text.size()) {
    return;
  }
  // A tail that has text in whole characters decodes the following tokens as the whole does: only at the very beginning of a text is a
  // space dropped.
  const std::vector<int32_t> tail(window_.end() - kShortWindow, window_.end());
  const std::string tail_text = tokenizer_.decode(tail);
  if (!tail_text.empty() && text.ends_with(tail_text) && tail_text.find(kReplacement) == std::string::npos) {
    window_ = tail;
    shown_ = tail_text;
  }
}

}  // namespace lora::generate
