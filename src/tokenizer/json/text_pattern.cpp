#include "tokenizer/json/text_pattern.h"

namespace lora::tokenizer {

TextPattern::TextPattern(const JsonReader& reader) {
  const JsonReader pattern = reader.object("pattern");
  if (pattern.has("Regex")) {
    regex_.emplace(pattern.string("Regex"), reader.where() + ".pattern");
    return;
  }
  literal_ = pattern.string("String");
  if (literal_.empty()) {
    pattern.fail("String", "a non-empty string");
  }
}

std::vector<Span> TextPattern::find_all(std::string_view text) const {
  if (regex_) {
    return regex_->find_all(text);
  }
  std::vector<Span> places;
  for (size_t at = text.find(literal_); at != std::string_view::npos; at = text.find(literal_, at + literal_.size())) {
    places.push_back({at, at + literal_.size()});
  }
  return places;
}

}  // namespace lora::tokenizer
