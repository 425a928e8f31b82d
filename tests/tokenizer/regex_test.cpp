// Patterns in Oniguruma's syntax; scripts/golden/tokenizer_json.py compares them on many texts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/expect_error.h"
#include "tokenizer/regex/text_regex.h"

namespace lora::tokenizer {
namespace {

using testing::ElementsAre;

std::vector<std::string> matches(const std::string& pattern, const std::string& text) {
  std::vector<std::string> found;
  for (const Span& span : TextRegex(pattern, "test").find_all(text)) {
    found.push_back(text.substr(span.begin, span.end - span.begin));
  }
  return found;
}

TEST(TextRegex, SupportsOnigurumaSyntax) {
  EXPECT_THAT(matches("a{2}+", "aaaaa"), ElementsAre("aaaa"));     // a repetition of a repetition
  EXPECT_THAT(matches("a{1}?b", "ab b"), ElementsAre("ab", "b"));  // an optional repetition
  EXPECT_THAT(matches("a{,2}b", "aaab"), ElementsAre("aab"));
  EXPECT_THAT(matches("a{2,3}?", "aaaa"), ElementsAre("aa", "aa"));
  EXPECT_THAT(matches("a{x}", "a{x}"), ElementsAre("a{x}"));
  EXPECT_THAT(matches("^.", "ab\ncd\n"), ElementsAre("a", "c"));
  EXPECT_THAT(matches(".$", "ab\ncd"), ElementsAre("b", "d"));
  EXPECT_THAT(matches("a++a|a", "aaa"), ElementsAre("a", "a", "a"));
  EXPECT_THAT(matches("(?i:k|s)", "kK\u212a s\u017fS"), ElementsAre("k", "K", "\u212a", "s", "\u017f", "S"));
  EXPECT_THAT(matches("a(?i)b|C", "aB ac AB"), ElementsAre("aB", "ac"));  // the option extends over the alternatives
  EXPECT_THAT(matches("(?i:\u00e4|\u0416)", "\u00c4\u00e4\u0436"), ElementsAre("\u00c4", "\u00e4", "\u0436"));
  EXPECT_THAT(matches("[a-c&&[^b]]+", "abcab"), ElementsAre("a", "ca"));
  EXPECT_THAT(matches("[]a]+", "]a"), ElementsAre("]a"));
  EXPECT_THAT(matches("[[:space:]x-]+", "a x-\t"), ElementsAre(" x-\t"));
  EXPECT_THAT(matches("\\h+", "xF0g"), ElementsAre("F0"));
  EXPECT_THAT(matches("\\bab\\b", "ab cab ab"), ElementsAre("ab", "ab"));
  EXPECT_THAT(matches("\\x{65e5}\\u672c\\x41", "\u65e5\u672cA"), ElementsAre("\u65e5\u672cA"));
  EXPECT_THAT(matches("(?<=a)b(?!c)(?#x)", "abc ab bb"), ElementsAre("b"));
  EXPECT_THAT(matches("\\p{Han}+|\\P{^Lu}", "\u65e5\u672cAb"), ElementsAre("\u65e5\u672c", "A"));
  EXPECT_THAT(matches("x*", "axb"), ElementsAre("", "x", ""));  // no empty match directly after a match
}

TEST(TextRegex, UsesTheUnicodeVersionOfTheReference) {
  EXPECT_THAT(matches("\\s", "\u180e\u0085\u2003"), ElementsAre("\u0085", "\u2003"));              // U+180E: not since Unicode 6.3
  EXPECT_THAT(matches("\\p{L}+", "a\U0001e4d0\U00031350"), ElementsAre("a\U0001e4d0\U00031350"));  // Unicode 15
  EXPECT_THAT(matches("\\p{N}", "\U00011f50"), ElementsAre("\U00011f50"));
  EXPECT_THAT(matches("[^\\s\\p{L}\\p{N}]+", "\u00d7\U0001fae8a"), ElementsAre("\u00d7\U0001fae8"));
}

TEST(TextRegex, Errors) {
  const std::vector<std::pair<const char*, const char*>> cases{{"(", "never closed"},
                                                               {")", "has no matching '('"},
                                                               {"*a", "nothing to repeat"},
                                                               {"[a", "ends too early"},
                                                               {"[b-a]", "ends before"},
                                                               {"\\p{Klingon}", "'Klingon' is unknown"},
                                                               {"\\p{L", "no closing"},
                                                               {"(?<n>a)", "kind of group"},
                                                               {"a\\1", "escape"},
                                                               {"\\X", "escape"},
                                                               {"a{3,2}", "above its maximum"},
                                                               {"a{200000}", "too large"},
                                                               {"[[:klingon:]]", "klingon"},
                                                               {"\\x{110000}", "not a code point"},
                                                               {"(?<=a+)b", "not a valid regular expression"},
                                                               {"\\", "ends too early"}};
  for (const auto& [pattern, part] : cases) {
    test::expect_error(ErrorKind::kModel, {"[here]", part}, [&, &pattern = pattern] { TextRegex(pattern, "here"); });
  }
  std::string many;
  for (int i = 0; i < 300; ++i) {
    many += "\\x{" + std::to_string(1000 + i) + "}|";
  }
  test::expect_error(ErrorKind::kModel, {"256 kinds"}, [&] { TextRegex(many, "here"); });
  test::expect_error(ErrorKind::kModel, {"fails on a text"}, [] { matches("(a|a)*b|(a|a)*c|x", std::string(64, 'a')); });
}

}  // namespace
}  // namespace lora::tokenizer
