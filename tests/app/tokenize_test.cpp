// lora-tokenize: texts to ids and back.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "process.h"
#include "support/paths.h"

namespace lora::test {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class Tokenize : public ::testing::Test {
 protected:
  Outcome run(const std::string& input, std::vector<std::string> more = {}) {
    write_text(scratch_ / "in.jsonl", input);
    std::vector<std::string> command{"lora-tokenize", "--model", model_.string(), "--input", (scratch_ / "in.jsonl").string(),
                                     "--output",      output()};
    command.insert(command.end(), more.begin(), more.end());
    return run_tool(command);
  }
  std::string output() const { return (scratch_ / "out.jsonl").string(); }

  void expect_error(const std::string& input, int exit_code, const std::vector<std::string>& parts, std::vector<std::string> more = {}) {
    const Outcome outcome = run(input, std::move(more));
    EXPECT_EQ(outcome.exit_code, exit_code) << outcome.err;
    for (const std::string& part : parts) {
      EXPECT_THAT(outcome.err, HasSubstr(part));
    }
    EXPECT_FALSE(fs::exists(output()));
  }

  TemporaryFolder scratch_;
  fs::path model_ = fs::path(lora::test::data_folder()) / "tokenizer_json/llama3.json";
};

TEST_F(Tokenize, TextsToIdsAndBack) {
  const std::string text = "{\"text\": \"Hello <|eot_id|>world\"}\n\n{\"text\": \"\", \"id\": 7}\n";
  ASSERT_EQ(run(text).exit_code, 0);
  std::vector<Json> rows = read_rows(output());
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[0]["input_ids"][0], 600);  // <|begin_of_text|>
  EXPECT_EQ(std::count(rows[0]["input_ids"].begin(), rows[0]["input_ids"].end(), 602), 1);
  EXPECT_EQ(rows[1].dump(), "{\"input_ids\":[600]}");
  ASSERT_EQ(run(read_text(output()), {"--decode"}).exit_code, 0);
  rows = read_rows(output());
  EXPECT_EQ(rows[0].dump(), "{\"text\":\"<|begin_of_text|>Hello <|eot_id|>world\"}");

  model_ = fs::path(lora::test::data_folder()) / "tokenizer/bpe.model";
  ASSERT_EQ(run("{\"text\": \"the</s> river\"}\n").exit_code, 0);
  rows = read_rows(output());
  EXPECT_EQ(rows[0]["input_ids"][0], 1);
  EXPECT_EQ(rows[0]["input_ids"][2], 2);
}

TEST_F(Tokenize, Errors) {
  expect_error("{\"prompt\": \"a\", \"answer\": \"b\"}\n", 3, {"in.jsonl:1", "prompt, answer", "\"text\""});
  expect_error("{\"text\": \"a\"}\n{\"text\": 1}\n", 3, {"in.jsonl:2]", "\"text\": found an integer", "a string"});
  expect_error("{\"text\": \"\\ud800\"}\n", 3, {"in.jsonl:1"});
  expect_error("{\"text\": \"a\"}\n", 3, {"input_ids"}, {"--decode"});
  expect_error("{\"input_ids\": [1, 603]}\n", 3, {"input_ids", "0 to 602"}, {"--decode"});
  expect_error("{\"input_ids\": 3}\n", 3, {"an array of ids"}, {"--decode"});
  model_ = scratch_.path();
  expect_error("", 4, {"no tokenizer file"});
  EXPECT_EQ(run_tool({"lora-tokenize", "--model", "x"}).exit_code, 2);
  EXPECT_EQ(run_tool({"lora-tokenize", "--help"}).exit_code, 0);
  EXPECT_THAT(run_tool({"lora-tokenize", "--version"}).out, HasSubstr("lora-train"));
}

}  // namespace
}  // namespace lora::test
