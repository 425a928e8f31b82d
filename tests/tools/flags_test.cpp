#include "tools/flags.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "support/paths.h"

namespace lora::tools {
namespace {

TEST(Flags, EveryProgramLimitsTheCachesOfLibrariesUnlessTheUserSetsThem) {
  setenv("LRU_CACHE_CAPACITY", "7", 1);
  unsetenv("KINETO_LOG_LEVEL");
  CLI::App cli{"A program"};
  std::string name = "program";
  char* argv[] = {name.data(), nullptr};
  bool has_run = false;
  EXPECT_EQ(run(cli, 1, argv,
                [&] {
                  has_run = true;
                  EXPECT_STREQ(std::getenv("LRU_CACHE_CAPACITY"), "7");
                  EXPECT_STREQ(std::getenv("KINETO_LOG_LEVEL"), "99");
                  return 0;
                }),
            0);
  EXPECT_TRUE(has_run);
  unsetenv("LRU_CACHE_CAPACITY");
  CLI::App other{"A program"};
  run(other, 1, argv, [] {
    EXPECT_STREQ(std::getenv("LRU_CACHE_CAPACITY"), "32");
    return 0;
  });
  for (const auto& entry : std::filesystem::directory_iterator(lora::test::source_folder() + "/src/tools")) {
    if (entry.path().filename().string().starts_with("lora_")) {
      std::ostringstream text;
      text << std::ifstream(entry.path()).rdbuf();
      EXPECT_THAT(text.str(), testing::HasSubstr("return lora::tools::run(cli, argc, argv,")) << entry.path();
    }
  }
}

TEST(Flags, ErrorsOfWholeNumbersAreShort) {
  const CLI::Validator positive = whole_number(1), bounded = whole_number(1, 100);
  for (const char* text : {"1", "9223372036854775807"}) {
    std::string value = text;
    EXPECT_EQ(positive(value), "");
  }
  for (const char* text : {"abc", "", "0", "-1", "1.5", "1 ", "0x10", "9223372036854775808"}) {
    std::string value = text;
    EXPECT_EQ(positive(value), "found '" + value + "', expected a whole number of at least 1");
  }
  std::string value = "101";
  EXPECT_EQ(bounded(value), "found '101', expected a whole number from 1 to 100");
}

}  // namespace
}  // namespace lora::tools
