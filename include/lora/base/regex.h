#pragma once
#include <memory>
#include <string>
#include <string_view>

#include "lora/base/error.h"

namespace lora {

/// A Perl-style regular expression (PCRE2, in UTF-8), the nearest to Python's `re` that PEFT's patterns are written in.
/// Matching is bounded: a pattern that backtracks without end is an Error, not a hang.
class Regex {
 public:
  /// Throws Error of `kind` naming `where`, the pattern and the position if it does not compile.
  Regex(const std::string& pattern, const std::string& where, ErrorKind kind);

  /// Python's re.fullmatch.
  bool matches_whole(std::string_view text) const;
  /// Every match replaced, left to right; $1 or ${name} in `replacement` is a group. Throws Error for one that there is not.
  std::string replaced(std::string_view text, const std::string& replacement) const;
  /// The text of the named group where the pattern matches from the start, or "".
  std::string group_at_start(std::string_view text, const std::string& group) const;

 private:
  struct Impl;
  std::shared_ptr<const Impl> impl_;
};

}  // namespace lora
