#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "tokenizer/unicode/code_points.h"

namespace lora::tokenizer {

/// Reads a regular expression by code points.
class PatternReader {
 public:
  PatternReader(std::string_view pattern, std::string where) : pattern_(pattern), where_(std::move(where)) {}

  bool at_end() const { return at_ == pattern_.size(); }
  bool looking_at(std::string_view text) const { return pattern_.substr(at_).starts_with(text); }
  /// Moves past `text` if it comes next.
  bool skip(std::string_view text);
  /// The next code point. Throws model Error at the end.
  char32_t next();
  /// The text up to `end`; moves past it. Throws model Error if there is none.
  std::string_view until(char end);
  /// The number that comes next, if any. Throws model Error above 100,000.
  std::optional<int> number();
  size_t position() const { return at_; }
  void go_to(size_t position) { at_ = position; }
  [[noreturn]] void fail(const std::string& what) const;

 private:
  std::string_view pattern_;
  std::string where_;
  size_t at_ = 0;
};

/// The escape after a backslash if it is a set of code points (\p{L}, \s, \x{41}, \n, \., …); empty for another escape, which
/// is not consumed.
std::optional<CodePoints> read_escape(PatternReader& reader);

/// A class, after its '[': ranges, escapes, POSIX names, nested classes, intersections (&&).
CodePoints read_class(PatternReader& reader, bool ignore_case);

/// The set and every code point that differs from one of its members only in case.
CodePoints ignoring_case(const CodePoints& set);

}  // namespace lora::tokenizer
