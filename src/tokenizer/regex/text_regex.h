#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace lora::tokenizer {

/// A part of a text, in bytes.
struct Span {
  size_t begin = 0;
  size_t end = 0;
  bool operator==(const Span&) const = default;
};

/// A regular expression of tokenizer.json. It matches the same text as in Oniguruma, the library of Hugging Face's tokenizers;
/// PCRE2 performs the matching on the letters of an Alphabet.
class TextRegex {
 public:
  /// Throws model Error naming `where` and the pattern if it does not compile or uses unsupported features (pattern.h).
  TextRegex(std::string_view pattern, const std::string& where);

  /// All matches in `text` (valid UTF-8), from left to right, with the rules of rust-onig's find_iter for empty matches. Throws
  /// model Error if one match takes more steps than any published pattern needs for such a text.
  std::vector<Span> find_all(std::string_view text) const;

 private:
  struct Impl;
  std::shared_ptr<const Impl> impl_;
};

}  // namespace lora::tokenizer
