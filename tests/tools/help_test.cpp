#include "support/paths.h"
#include "tools/help.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <memory>
#include <regex>
#include <sstream>

namespace lora::tools {
namespace {

constexpr size_t kMaxColumns = 110;

std::string help_of(const std::string& program) {
  const std::string command = std::string(lora::test::program_folder()) + "/" + program + " --help";
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command.c_str(), "r"), pclose);
  std::string text;
  std::array<char, 4096> buffer;
  for (size_t size = 0; (size = fread(buffer.data(), 1, buffer.size(), pipe.get())) > 0;) {
    text.append(buffer.data(), size);
  }
  return text;
}

std::string source_of(const std::filesystem::path& file) {
  std::ostringstream text;
  text << std::ifstream(file).rdbuf();
  return text.str();
}

/// The names of the flags that a source adds.
std::vector<std::string> flags_in(const std::string& source) {
  const std::regex flag("(?:add_option|add_flag|add)\\(\\s*\"(--[a-z-]+)");
  std::vector<std::string> names;
  for (std::sregex_iterator match(source.begin(), source.end(), flag), end; match != end; ++match) {
    names.push_back((*match)[1]);
  }
  return names;
}

TEST(Help, PagesAreGroupedWrappedAndEndWithAnExampleAndTheExitCodes) {
  const std::regex untidy("\\(default [^:]|[.;:] \\(default|\\bOf \\w|\\{false\\}");
  int num_programs = 0;
  for (const auto& entry : std::filesystem::directory_iterator(lora::test::source_folder() + "/src/tools")) {
    std::string program = entry.path().stem().string();
    if (!program.starts_with("lora_")) {
      continue;
    }
    ++num_programs;
    program[4] = '-';
    const std::string help = help_of(program);
    SCOPED_TRACE(program + " --help:\n" + help);
    EXPECT_THAT(help, testing::HasSubstr("\n\nExample:\n  " + program + " "));
    EXPECT_THAT(help, testing::ContainsRegex("\n\nExit codes:\n  0        success\n"));
    EXPECT_THAT(help, testing::HasSubstr("\n" + std::string(group::kGeneral) + ":\n"));
    EXPECT_THAT(help, testing::Not(testing::ContainsRegex("\n(Options|OPTIONS|Positionals):")));
    EXPECT_FALSE(std::regex_search(help, untidy));
    for (const std::string& flag : flags_in(source_of(entry.path()))) {
      EXPECT_THAT(help, testing::ContainsRegex("\n  " + flag + "[ \n]"));
    }
    std::istringstream lines(help);
    for (std::string line; std::getline(lines, line);) {
      EXPECT_LE(line.size(), kMaxColumns) << line;
    }
  }
  EXPECT_EQ(num_programs, 7);
}

}  // namespace
}  // namespace lora::tools
