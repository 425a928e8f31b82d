// Malformed rows: each is a data Error that names file, line and column, and the fault.
#include <gtest/gtest.h>

#include "fake_tokenizer.h"
#include "lora/data/dataset.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace lora::data {
namespace {

using namespace std::string_literals;

struct Case {
  const char* file;
  RowFormat format;
  std::string content;
  std::vector<std::string> parts;
};

std::vector<Case> json_cases() {
  const RowFormat text = RowFormat::kText;
  const std::string good = "{\"text\": \"a\"}\n";
  return {
      {"x.jsonl", text, good + "{\"text\": \"b\"\n", {"x.jsonl:2:"}},
      {"x.jsonl", text, good + "\n\n{\"text\": b}\n", {"x.jsonl:4:10"}},
      {"x.jsonl", text, "{\"text\": \"a\"} {\"text\": \"b\"}\n", {"x.jsonl:1:"}},
      {"x.jsonl", text, "{\"text\": \"a\", \"text\": \"b\"}\n", {"x.jsonl:1:", "text"}},
      {"x.jsonl", text, "{'text': 'a'}\n", {"x.jsonl:1:2"}},
      {"x.jsonl", text, "{\"text\": \"a\",}\n", {"x.jsonl:1:"}},
      {"x.jsonl", text, "{\"text\": \"a\"} // comment\n", {"x.jsonl:1:"}},
      {"x.jsonl", text, "{\"text\": NaN}\n", {"x.jsonl:1]", "found NaN (NaN), expected a string"}},
      {"x.jsonl", text, "{\"text\": \"\\ud800\"}\n", {"x.jsonl:1:"}},
      {"x.jsonl", text, "{\"text\": \"a\nb\"}\n", {"x.jsonl:1:"}},
      {"x.jsonl", text, good + "{\"text\": " + std::string(100'000, '[') + "\n", {"x.jsonl:2:", "nest"}},
      {"x.jsonl", text, good + "  [1]\n", {"x.jsonl:2:3", "a row must be an object", "an array"}},
      {"x.jsonl", text, "3\n", {"x.jsonl:1:1", "found an integer"}},
      {"x.jsonl", text, "null\n", {"x.jsonl:1:1", "found null"}},
      {"x.jsonl", text, good + "{\"text\": \"a\xff\"}\n", {"x.jsonl:2:12", "0xff", "not valid UTF-8"}},
      {"x.jsonl", text, "{\"text\": \"\xc0\x80\"}\n", {"x.jsonl:1:11", "0xc0"}},
      {"x.jsonl", text, "{\"text\": \"\xe0\x80\xaf\"}\n", {"x.jsonl:1:11", "not valid UTF-8"}},
      {"x.jsonl", text, "{\"text\": \"\xed\xa0\x80\"}\n", {"x.jsonl:1:11", "not valid UTF-8"}},
      {"x.jsonl", text, "{\"text\": \"a\0b\"}\n"s, {"x.jsonl:1:12", "NUL"}},
      {"x.jsonl", text, "\xff\xfe{\0\"\0"s, {"x.jsonl:1:1", "0xff"}},
      {"x.jsonl", text, good + "{\"txt\": \"a\", \"id\": 3}\n", {"x.jsonl:2]", "\"text\" is missing", "\"txt\", \"id\"", "columns"}},
      {"x.jsonl", text, "{}\n", {"x.jsonl:1]", "found none"}},
      {"x.jsonl", text, "{\"text\": 3}\n", {"x.jsonl:1]", "\"text\": found an integer", "expected a string"}},
      {"x.jsonl", text, "{\"text\": null}\n", {"x.jsonl:1]", "found null"}},
      {"x.jsonl", text, "{\"text\": [\"a\"]}\n", {"x.jsonl:1]", "found an array"}},
      {"x.json", text, "[{\"text\": \"a\"},\n {\"text\": }]", {"x.json:2:11"}},
      {"x.json", text, "[{\"text\": \"a\"},\n {\"text\": \"b\"}, 7]", {"x.json:2:17", "found an integer"}},
      {"x.json", text, "[{\"text\": \"a\"}", {"x.json:1:"}},
      {"x.json", text, "7", {"x.json:1:1", "one array of rows"}},
      {"x.json", text, "[{\"text\": \"\xff\"}]", {"x.json:1:12"}},
      {"x.json", text, "[{\"text\": \"a\"},\n\n{\"t\": 1}]", {"x.json:3]", "\"text\" is missing"}},
  };
}

std::vector<Case> other_cases() {
  const RowFormat tokens = RowFormat::kTokens;
  return {
      {"x.jsonl", tokens, "{\"input_ids\": [1, 301]}\n", {"x.jsonl:1]", "input_ids[1]: found 301", "from 0 to 300"}},
      {"x.jsonl", tokens, "{\"input_ids\": [-1, 2]}\n", {"x.jsonl:1]", "input_ids[0]: found -1"}},
      {"x.jsonl", tokens, "{\"input_ids\": [-100, 2]}\n", {"input_ids[0]: found -100"}},
      {"x.jsonl", tokens, "{\"input_ids\": [1.0, 2]}\n", {"input_ids[0]: found 1.0", "integer"}},
      {"x.jsonl", tokens, "{\"input_ids\": [true, 2]}\n", {"input_ids[0]: found true"}},
      {"x.jsonl", tokens, "{\"input_ids\": [\"1\", 2]}\n", {"input_ids[0]: found \"1\""}},
      {"x.jsonl", tokens, "{\"input_ids\": [[1, 2]]}\n", {"input_ids[0]: found [1"}},
      {"x.jsonl", tokens, "{\"input_ids\": [18446744073709551615]}\n", {"input_ids[0]: found 18446744073709551615"}},
      {"x.jsonl", tokens, "{\"input_ids\": [4294967297, 1]}\n", {"input_ids[0]: found 4294967297"}},
      {"x.jsonl", tokens, "{\"input_ids\": \"1 2\"}\n", {"\"input_ids\": found a string", "array of integers"}},
      {"x.jsonl", tokens, "{\"input_ids\": [1, 2], \"labels\": [1]}\n", {"x.jsonl:1]", "found 1 labels for 2 input_ids"}},
      {"x.jsonl", tokens, "{\"input_ids\": [1, 2], \"labels\": [-99, 2]}\n", {"labels[0]: found -99", "or -100"}},
      {"x.jsonl", tokens, "{\"input_ids\": [1, 2], \"labels\": [1, 301]}\n", {"labels[1]: found 301"}},
      {"x.jsonl", tokens, "{\"labels\": [1, 2]}\n", {"\"input_ids\" is missing", "\"labels\""}},
      {"x.csv", tokens, "input_ids\n\"[1, x]\"\n", {"x.csv:2", "column input_ids"}},
      {"x.csv", tokens, "input_ids\n7\n", {"x.csv:2]", "found an integer"}},
      {"x.csv", RowFormat::kText, "text,b\na\n", {"x.csv:2]", "found 1 fields, expected 2", "text, b"}},
      {"x.csv", RowFormat::kText, "text\na,b\n", {"x.csv:2]", "found 2 fields, expected 1"}},
      {"x.csv", RowFormat::kText, "text,b\na,\"b\nc\n\n", {"x.csv:2:3]", "never closed"}},
      {"x.csv", RowFormat::kText, "text,b\na\"a,b\n", {"x.csv:2:2]", "a quote inside an unquoted field"}},
      {"x.csv", RowFormat::kText, "text,b\n\"a\"a,b\n", {"x.csv:2:4]", "after a closing quote"}},
      {"x.csv", RowFormat::kText, "text,b\n\"a\nb\",\"c\"d\n", {"x.csv:3:7]", "after a closing quote"}},
      {"x.csv", RowFormat::kText, "text,text\na,b\n", {"x.csv:1]", "text twice"}},
      {"x.csv", RowFormat::kText, "text;b\na;b\n", {"x.csv:2]", "\"text\" is missing", "\"text;b\""}},
      {"x.csv", RowFormat::kText, "text\n\"a\n\xff\"\n", {"x.csv:3:1]", "0xff"}},
      {"x.txt", RowFormat::kText, "a\nb\xc3\n", {"x.txt:2:2]", "0xc3"}},
      {"x.txt", RowFormat::kText, "a\nb\0"s, {"x.txt:2:2]", "NUL"}},
      {"x.jsonl",
       RowFormat::kPromptCompletion,
       "{\"prompt\": \"a\", \"answer\": \"b\"}\n",
       {"x.jsonl:1]", "\"completion\" is missing", "\"prompt\", \"answer\"", "\"columns\": {\"completion\": \"…\"}"}},
      {"x.jsonl", RowFormat::kInstruction, "{\"instruction\": \"a\", \"input\": 3, \"output\": \"b\"}\n", {"\"input\": found an integer"}},
      {"x.jsonl", RowFormat::kInstruction, "{\"instruction\": \"a\"}\n", {"\"output\" is missing"}},
  };
}

void expect_cases(const std::vector<Case>& cases) {
  const test::TemporaryFolder folder;
  const test::FakeTokenizer tokenizer;
  for (const Case& each : cases) {
    SCOPED_TRACE(each.content.substr(0, 60));
    SourceOptions source;
    source.format = each.format;
    source.path = folder.write(each.file, each.content);
    test::expect_error(ErrorKind::kData, each.parts, [&] { load_dataset("data.train", {source}, {}, {&tokenizer, 301}); });
  }
}

TEST(HostileRows, Json) {
  expect_cases(json_cases());
}

TEST(HostileRows, TokensCsvAndText) {
  expect_cases(other_cases());
}

TEST(HostileRows, WrongKindsOfFiles) {
  const test::TemporaryFolder folder;
  const test::FakeTokenizer tokenizer;
  const auto load = [&](const std::string& name, RowFormat format, int64_t vocab_size = 301) {
    SourceOptions source;
    source.format = format;
    source.path = folder.write(name, "ab\n");
    load_dataset("data.eval", {source}, {}, {&tokenizer, vocab_size});
  };
  using test::expect_error;
  expect_error(ErrorKind::kConfig, {"data.eval[0].path", "x.parquet", ".jsonl, .json, .csv, .txt"},
               [&] { load("x.parquet", RowFormat::kText); });
  expect_error(ErrorKind::kConfig, {"data.eval[0].path", "x.gz"}, [&] { load("x.gz", RowFormat::kText); });
  expect_error(ErrorKind::kConfig, {"data.eval[0].format", "plain text", "found the format tokens"},
               [&] { load("x.txt", RowFormat::kTokens); });
  expect_error(ErrorKind::kData, {"x.txt:1]", "found the id 300 (ab)", "from 0 to 299"}, [&] { load("x.txt", RowFormat::kText, 300); });
}

TEST(HostileRows, IdsOfAVocabularyThatIsNotKnown) {
  const test::TemporaryFolder folder;
  const auto load = [&](const std::string& id, std::optional<int64_t> vocab_size) {
    SourceOptions source;
    source.format = RowFormat::kTokens;
    source.path = folder.write("rows.jsonl", "{\"input_ids\": [1, " + id + "]}\n");
    return load_dataset("data.train", {source}, {}, {nullptr, vocab_size}).examples.front().ids().back();
  };
  EXPECT_EQ(load("2147483646", std::nullopt), 2147483646);
  test::expect_error(ErrorKind::kData, {"rows.jsonl:1"}, [&] { load("2147483647", std::nullopt); });
  test::expect_error(ErrorKind::kData, {"rows.jsonl:1"}, [&] { load("5", 5); });
}

}  // namespace
}  // namespace lora::data
