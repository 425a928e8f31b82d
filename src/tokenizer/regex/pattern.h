#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/unicode/code_points.h"

namespace lora::tokenizer {

/// One piece of a translated regular expression: an operator in PCRE2's spelling, or one character out of a set.
struct PatternItem {
  std::string text;  ///< an operator, where set < 0
  int set = -1;      ///< index in Pattern::sets
};

/// A regular expression as operators of PCRE2 between sets of code points.
struct Pattern {
  std::vector<PatternItem> items;
  std::vector<CodePoints> sets;  ///< each once
};

/// Reads a pattern in Oniguruma's syntax, in which tokenizer.json's patterns are written. What differs from PCRE2's is
/// translated: '^' and '$' match at every line, {n,m}+ repeats a repetition, (?i) reaches over alternatives, properties are of
/// another Unicode. Groups capture nothing. Throws model Error naming `where`, the pattern and the position for what is no
/// regular expression and for what published tokenizers do not use (references, named groups, \X, \R, \G, \K).
Pattern parse_pattern(std::string_view pattern, const std::string& where);

}  // namespace lora::tokenizer
