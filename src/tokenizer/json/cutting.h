#pragma once
#include <vector>

#include "lora/base/enum_table.h"
#include "tokenizer/json/pieces.h"
#include "tokenizer/regex/text_regex.h"
#include "tokenizer/unicode/utf8.h"

namespace lora::tokenizer {

/// The treatment of the matches at which a piece is split.
enum class CutBehavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };
inline constexpr EnumTable<CutBehavior, 5> kCutBehaviors{{{{CutBehavior::kRemoved, "Removed"},
                                                           {CutBehavior::kIsolated, "Isolated"},
                                                           {CutBehavior::kMergedWithPrevious, "MergedWithPrevious"},
                                                           {CutBehavior::kMergedWithNext, "MergedWithNext"},
                                                           {CutBehavior::kContiguous, "Contiguous"}}}};

/// The part of a piece from byte `begin` to `end`.
TextPiece part_of(const TextPiece& piece, size_t begin, size_t end);

/// Splits `piece` at `matches` (sorted, not overlapping) and appends the non-empty parts. `invert`: the parts between the matches count as
/// matches.
void cut(const TextPiece& piece, const std::vector<Span>& matches, CutBehavior behavior, bool invert, Pieces& parts);

/// Every character for which `is_match(code)` is a match.
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
