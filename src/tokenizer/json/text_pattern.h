#pragma once
#include <optional>
#include <string>
#include <vector>

#include "lora/base/json.h"
#include "tokenizer/regex/text_regex.h"

namespace lora::tokenizer {

/// What Split and Replace look for: {"String": text} or {"Regex": pattern}.
class TextPattern {
 public:
  /// Reads the key "pattern". Throws model Error for another form, an empty string, and a pattern that TextRegex refuses.
  explicit TextPattern(const JsonReader& reader);

  /// Every place where it stands, from left to right, none overlapping.
  std::vector<Span> find_all(std::string_view text) const;

 private:
  std::string literal_;
  std::optional<TextRegex> regex_;
};

}  // namespace lora::tokenizer
