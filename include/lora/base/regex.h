#pragma once
#include <memory>
#include <string>
#include <string_view>

#include "lora/base/error.h"

namespace lora {

/// A Perl-style regular expression (PCRE2, in UTF-8), close to Python's `re`, for which PEFT's patterns are written.
/// Matching is bounded: a pattern that backtracks endlessly causes an Error, not a hang.
class Regex {
 public:
  /// Throws Error of `kind` with `where`, the pattern and the position if it does not compile.
  Regex(const std::string& pattern, const std::string& where, ErrorKind kind);

  /// Python's re.fullmatch.
  bool matches_whole(std::string_view text) const;
  /// Python's re.search: whether it matches anywhere.
  bool found_in(std::string_view text) const;
  /// Replaces every match, from left to right; $1 or ${name} in `replacement` is a group. Throws Error for an unknown group.
  std::string replaced(std::string_view text, const std::string& replacement) const;
  /// The text of the named group if the pattern matches from the start, otherwise "".
  std::string group_at_start(std::string_view text, const std::string& group) const;

 private:
  struct Impl;
  std::shared_ptr<const Impl> impl_;
};

}  // namespace lora
