#include "lora/base/text.h"

#include <gtest/gtest.h>

#include <limits>

namespace lora {
namespace {

TEST(NearestName, FindsTypos) {
  const std::vector<std::string> known = {"learning_rate", "lora_alpha", "r", "max_steps", "seed"};
  EXPECT_EQ(nearest_name("learning_rte", known), "learning_rate");
  EXPECT_EQ(nearest_name("laerning_rate", known), "learning_rate");
  EXPECT_EQ(nearest_name("Learning-Rate", known), "learning_rate");
  EXPECT_EQ(nearest_name("lora_alhpa", known), "lora_alpha");
  EXPECT_EQ(nearest_name("sed", known), "seed");
  const std::vector<std::string> dtypes{"auto", "float32", "bfloat16", "float16"};
  for (const auto& [name, meant] : {std::pair("bf16", "bfloat16"), std::pair("BF16", "bfloat16"), std::pair("fp16", "float16"),
                                    std::pair("half", "float16"), std::pair("fp32", "float32"), std::pair("flaot32", "float32")}) {
    EXPECT_EQ(nearest_name(name, dtypes), meant) << name;
  }
  EXPECT_EQ(nearest_name("bf16", known), "");
  EXPECT_EQ(nearest_name("completely_else", known), "");
  EXPECT_EQ(nearest_name("x", known), "");
  EXPECT_EQ(nearest_name("", known), "");
  EXPECT_EQ(nearest_name(std::string(1 << 20, 'x'), {std::string(1 << 20, 'x')}), "");
  EXPECT_EQ(did_you_mean("max_step", known), " (did you mean 'max_steps'?)");
  EXPECT_EQ(did_you_mean("zzzzz", known), "");
}

TEST(Lists, JoinSplitTrim) {
  EXPECT_EQ(join({}), "");
  EXPECT_EQ(join({"a", "b", "c"}), "a, b, c");
  EXPECT_EQ(join({"a", "b"}, "/"), "a/b");
  EXPECT_EQ(join({"a", "b", "c", "d"}, ", ", 2), "a, b, … (2 more)");
  EXPECT_EQ(join({"a", "b"}, ", ", 2), "a, b");
  EXPECT_EQ(split("a,,b,", ','), (std::vector<std::string>{"a", "", "b", ""}));
  EXPECT_EQ(split("", ','), std::vector<std::string>{""});
  EXPECT_EQ(trim(" \t a b\r\n"), "a b");
  EXPECT_EQ(trim(" \n "), "");
  EXPECT_TRUE(starts_with_any("model.layers", {"x", "model."}));
  EXPECT_FALSE(starts_with_any("model", {"model."}));
  EXPECT_FALSE(starts_with_any("model", {}));
}

TEST(Utf8, FindsTheFirstBadByte) {
  constexpr size_t kNone = std::string_view::npos;
  EXPECT_EQ(invalid_utf8_at(""), kNone);
  EXPECT_EQ(invalid_utf8_at("aé€😀\xf4\x8f\xbf\xbf"), kNone);
  EXPECT_EQ(invalid_utf8_at("ab\xff"), 2U);
  EXPECT_EQ(invalid_utf8_at("a\x80"), 1U);
  EXPECT_EQ(invalid_utf8_at("\xc0\xaf"), 0U);          // overlong
  EXPECT_EQ(invalid_utf8_at("\xc1\xbf"), 0U);          // overlong
  EXPECT_EQ(invalid_utf8_at("\xe0\x9f\xbf"), 0U);      // overlong
  EXPECT_EQ(invalid_utf8_at("\xf0\x8f\xbf\xbf"), 0U);  // overlong
  EXPECT_EQ(invalid_utf8_at("a\xed\xa0\x80"), 1U);     // surrogate
  EXPECT_EQ(invalid_utf8_at("\xf4\x90\x80\x80"), 0U);  // beyond U+10FFFF
  EXPECT_EQ(invalid_utf8_at("\xf5\x80\x80\x80"), 0U);
  EXPECT_EQ(invalid_utf8_at("x\xe2\x82"), 1U);  // cut off
  EXPECT_EQ(invalid_utf8_at("\xe2\x82g"), 0U);
}

TEST(Glob, MatchesWholeStringsWithinOneFolder) {
  EXPECT_TRUE(matches_glob("*.jsonl", "a.jsonl"));
  EXPECT_TRUE(matches_glob("*", ""));
  EXPECT_TRUE(matches_glob("a*b*c", "aXbbYc"));
  EXPECT_TRUE(matches_glob("data/*/x-?.txt", "data/a/x-1.txt"));
  EXPECT_TRUE(matches_glob("?", "é"));
  EXPECT_TRUE(matches_glob("shard-[0-9][a-cx].txt", "shard-7x.txt"));
  EXPECT_TRUE(matches_glob("[!0-9]", "a"));
  EXPECT_TRUE(matches_glob("[]a]", "]"));
  EXPECT_TRUE(matches_glob("[a", "[a"));
  EXPECT_TRUE(matches_glob("**", "abc"));
  EXPECT_FALSE(matches_glob("*", "a/b"));
  EXPECT_FALSE(matches_glob("a*c", "ab/c"));
  EXPECT_FALSE(matches_glob("a?c", "a/c"));
  EXPECT_FALSE(matches_glob("a[!b]c", "a/c"));
  EXPECT_FALSE(matches_glob("[!0-9]", "5"));
  EXPECT_FALSE(matches_glob("a", "ab"));
  EXPECT_FALSE(matches_glob("ab", "a"));
  EXPECT_FALSE(matches_glob("", "a"));
  EXPECT_FALSE(matches_glob("*a*a*a*a*a*a*a*a*b", std::string(5000, 'a')));
}

TEST(Numbers, ReadAsPeopleWriteThem) {
  EXPECT_EQ(with_thousands(0), "0");
  EXPECT_EQ(with_thousands(999), "999");
  EXPECT_EQ(with_thousands(1000), "1,000");
  EXPECT_EQ(with_thousands(1234567), "1,234,567");
  EXPECT_EQ(with_thousands(-123456), "-123,456");
  EXPECT_EQ(with_thousands(INT64_MIN), "-9,223,372,036,854,775,808");
  EXPECT_EQ(human_bytes(0), "0 B");
  EXPECT_EQ(human_bytes(1023), "1023 B");
  EXPECT_EQ(human_bytes(1536), "1.5 KiB");
  EXPECT_EQ(human_bytes(1048575), "1.0 MiB");
  EXPECT_EQ(human_bytes(int64_t{5} << 30), "5.0 GiB");
  EXPECT_EQ(human_bytes(INT64_MAX), "8.0 EiB");
  EXPECT_EQ(human_seconds(0.4), "0s");
  EXPECT_EQ(human_seconds(12), "12s");
  EXPECT_EQ(human_seconds(59.6), "1m00s");
  EXPECT_EQ(human_seconds(185), "3m05s");
  EXPECT_EQ(human_seconds(3725), "1h02m");
  EXPECT_EQ(human_seconds(-1), "?");
  EXPECT_EQ(human_seconds(std::numeric_limits<double>::quiet_NaN()), "?");
  EXPECT_EQ(human_seconds(std::numeric_limits<double>::infinity()), "?");
}

TEST(Printable, ShortensAndEscapes) {
  EXPECT_EQ(printable("plain é"), "plain é");
  EXPECT_EQ(printable("a\nb\tc\r\x1b[31m\x7f"), "a\\nb\\tc\\r\\x1b[31m\\x7f");
  EXPECT_EQ(printable("\xc2\x9b"), "\\u009b");
  EXPECT_EQ(printable("\xff\xe2\x82"), "\\xff\\xe2\\x82");
  EXPECT_EQ(printable(std::string_view("\0x", 2)), "\\x00x");
  EXPECT_EQ(printable("abcdef", 3), "abc…");
  EXPECT_EQ(printable("abé", 3), "ab…");
  EXPECT_EQ(printable("abc", 3), "abc");
}

}  // namespace
}  // namespace lora
