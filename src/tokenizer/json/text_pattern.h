#pragma once
#include <optional>
#include <string>
#include <vector>

#include "lora/base/json.h"
#include "tokenizer/regex/text_regex.h"

namespace lora::tokenizer {

/// The pattern of Split and Replace: {"String": text} or {"Regex": pattern}.
class TextPattern {
 public:
  /// Reads the key "pattern". Throws model Error for another form, an empty string, and a pattern that TextRegex rejects.
  explicit TextPattern(const JsonReader& reader);

  /// All matches from left to right, without overlaps.
  std::vector<Span> find_all(std::string_view text) const;

 private:
  std::string literal_;
  std::optional<TextRegex> regex_;
};

}  // namespace lora::tokenizer
