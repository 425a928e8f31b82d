#pragma once
#include <vector>

#include "lora/base/enum_table.h"
#include "tokenizer/json/pieces.h"
#include "tokenizer/regex/text_regex.h"
#include "tokenizer/unicode/utf8.h"

namespace lora::tokenizer {

/// What becomes of the matches that a piece is cut at.
enum class CutBehavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };
inline constexpr EnumTable<CutBehavior, 5> kCutBehaviors{{{{CutBehavior::kRemoved, "Removed"},
                                                           {CutBehavior::kIsolated, "Isolated"},
                                                           {CutBehavior::kMergedWithPrevious, "MergedWithPrevious"},
                                                           {CutBehavior::kMergedWithNext, "MergedWithNext"},
                                                           {CutBehavior::kContiguous, "Contiguous"}}}};

/// The part of a piece from byte `begin` to `end`.
Piece part_of(const Piece& piece, size_t begin, size_t end);

/// Cuts `piece` at `matches` (sorted, none overlapping) and appends the parts that are not empty. `invert`: what lies between
/// the matches counts as matched.
void cut(const Piece& piece, const std::vector<Span>& matches, CutBehavior behavior, bool invert, Pieces& parts);

/// The characters for which `is_match(code)`, each a match.
template <typename IsMatch>
std::vector<Span> matching_characters(std::string_view text, const IsMatch& is_match) {
  std::vector<Span> matches;
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    if (is_match(next_code_point(text, at))) {
      matches.push_back({begin, at});
    }
  }
  return matches;
}

}  // namespace lora::tokenizer
