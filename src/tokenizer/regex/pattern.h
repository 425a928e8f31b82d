#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/unicode/code_points.h"

namespace lora::tokenizer {

/// An item of a translated regular expression: an operator in PCRE2's syntax, or one character of a set.
struct PatternItem {
  std::string text;  ///< an operator, if set < 0
  int set = -1;      ///< index in Pattern::sets
};

/// A regular expression as operators of PCRE2 between sets of code points.
struct Pattern {
  std::vector<PatternItem> items;
  std::vector<CodePoints> sets;  ///< without duplicates
};

/// Reads a pattern in Oniguruma's syntax, which tokenizer.json uses. Differences from PCRE2 are translated: '^' and '$' match at
/// every line, {n,m}+ repeats a repetition, (?i) extends over alternatives, properties follow another version of Unicode. Groups
/// capture nothing. Throws model Error naming `where`, the pattern and the position for an invalid regular expression and for
/// features that published tokenizers do not use (references, named groups, \X, \R, \G, \K).
Pattern parse_pattern(std::string_view pattern, const std::string& where);

}  // namespace lora::tokenizer
