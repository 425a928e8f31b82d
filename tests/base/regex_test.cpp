#include "lora/base/regex.h"

#include "support/expect_error.h"

namespace lora {
namespace {

using test::expect_error;

Regex regex(const std::string& pattern) {
  return Regex(pattern, "adapter.target_modules", ErrorKind::kConfig);
}

TEST(Regex, MatchesLikePython) {
  const Regex layers = regex(R"(.*\.(q|v)_proj)");
  EXPECT_TRUE(layers.matches_whole("model.layers.0.self_attn.q_proj"));
  EXPECT_FALSE(layers.matches_whole("model.layers.0.self_attn.q_proj.x"));
  EXPECT_TRUE(regex("a|ab").matches_whole("ab"));  // taking only the first alternative would stop too early
  EXPECT_TRUE(regex("é.").matches_whole("é€"));
  EXPECT_TRUE(regex("").matches_whole(""));
  EXPECT_EQ(regex(R"(.*\.layers\.(?P<index>\d+)\.)").group_at_start("model.layers.12.mlp", "index"), "12");
  EXPECT_EQ(regex(R"(.*\.layers\.(?P<index>\d+)\.)").group_at_start("lm_head", "index"), "");
  EXPECT_EQ(regex("a").group_at_start("a", "index"), "");
}

TEST(Regex, RejectsBadPatternsAndEndlessMatching) {
  expect_error(ErrorKind::kConfig, {"[adapter.target_modules] ", "'(q_proj'", "position 7"}, [] { regex("(q_proj"); });
  expect_error(ErrorKind::kConfig, {"[adapter.target_modules] "}, [] { regex("\xff"); });
  expect_error(ErrorKind::kConfig, {"failed on", "limit"}, [] { regex("(a+)+$").matches_whole(std::string(60, 'a') + "b"); });
  expect_error(ErrorKind::kConfig, {"failed on"}, [] { regex("a").matches_whole("\xff"); });
}

TEST(Regex, ReplacesEveryMatchAndItsGroups) {
  const Regex pattern("layers\\.(\\d+)", "--rename", ErrorKind::kConfig);
  EXPECT_EQ(pattern.replaced("model.layers.3.mlp.layers.12", "h.$1"), "model.h.3.mlp.h.12");
  EXPECT_EQ(pattern.replaced("lm_head", "h.$1"), "lm_head");
  EXPECT_EQ(pattern.replaced("layers.1", ""), "");
  EXPECT_EQ(Regex("a", "--rename", ErrorKind::kConfig).replaced("aaa", std::string(500, 'b')).size(), 1500);  // exceeds the first buffer
  test::expect_error(ErrorKind::kConfig, {"--rename", "cannot replace"}, [&] { pattern.replaced("layers.1", "$2"); });
}

}  // namespace
}  // namespace lora
