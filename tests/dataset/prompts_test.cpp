#include "lora/data/prompts.h"

#include <gtest/gtest.h>

#include "fake_tokenizer.h"
#include "ids.h"
#include "lora/data/dataset.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace lora::data {
namespace {

using test::Ids;

class Prompts : public testing::Test {
 protected:
  std::vector<PromptRow> load(const std::string& content, const std::string& name = "p.jsonl") {
    const std::string path = folder_.write(name, content);
    return load_prompts(path, {301,
                               [this]() -> const tokenizer::Tokenizer& {
                                 ++asked_;
                                 return tokenizer_;
                               },
                               {}});
  }
  void expect_refused(const std::string& content, const std::vector<std::string>& parts) {
    test::expect_error(ErrorKind::kData, parts, [&] { load(content); });
  }

  test::TemporaryFolder folder_;
  test::FakeTokenizer tokenizer_;
  int asked_ = 0;
};

TEST_F(Prompts, RowsOfTextAndOfIds) {
  const std::vector<PromptRow> rows = load(
      "{\"prompt\": \"xab\", \"adapter\": \"b\", \"id\": \"q-7\"}\n\n{\"input_ids\": [0, 300], \"adapter\": null, \"id\": 7, \"other\": "
      "[]}\n");
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[0].ids, (Ids{1, 'x' + 10, 300}));  // BOS, no EOS
  EXPECT_EQ(rows[0].given.dump(), R"({"prompt":"xab"})");
  EXPECT_EQ(rows[0].adapter, "b");
  EXPECT_EQ(rows[0].id, "q-7");
  EXPECT_TRUE(rows[0].origin.ends_with("p.jsonl:1"));
  EXPECT_EQ(rows[1].ids, (Ids{0, 300}));
  EXPECT_EQ(rows[1].given.dump(), R"({"input_ids":[0,300]})");
  EXPECT_EQ(rows[1].adapter, "");
  EXPECT_EQ(rows[1].id, 7);
  EXPECT_TRUE(rows[1].origin.ends_with("p.jsonl:3"));
  EXPECT_EQ(asked_, 1);

  asked_ = 0;
  const PromptRow plain = load("{\"input_ids\": [5]}").front();
  EXPECT_FALSE(plain.adapter);
  EXPECT_TRUE(plain.id.is_null());
  EXPECT_EQ(asked_, 0);  // ids need no tokenizer
  EXPECT_EQ(load("prompt,adapter\nx,\ny,b\n", "p.csv")[0].adapter, std::nullopt);
  EXPECT_EQ(load("[{\"prompt\": \"x\"}]", "p.json").size(), 1U);
}

TEST_F(Prompts, FaultyRowsNameFileAndLine) {
  expect_refused("{\"input_ids\": [1]}\n{\"input_ids\": [1, 301]}\n", {"p.jsonl:2", "input_ids[1]", "301", "from 0 to 300"});
  expect_refused("{\"input_ids\": [-1]}", {"p.jsonl:1", "-1"});
  expect_refused("{\"input_ids\": []}", {"p.jsonl:1", "input_ids", "at least one"});
  expect_refused("{\"input_ids\": \"1 2\"}", {"p.jsonl:1", "an array of integers"});
  expect_refused("{\"prompt\": 7}", {"p.jsonl:1", "prompt", "expected a string"});
  expect_refused("{\"promt\": \"x\"}", {"p.jsonl:1", "none of", "\"prompt\"", "\"input_ids\""});
  expect_refused("{\"prompt\": \"x\", \"input_ids\": [1]}", {"p.jsonl:1", "several of"});
  expect_refused("{\"prompt\": \"x\", \"adapter\": 3}", {"p.jsonl:1", "adapter"});
  expect_refused("{\"prompt\": \"x\"}\n{\"prompt\": \"x\"", {"p.jsonl:2:"});
  expect_refused("{\"prompt\": \"x\"}\n[1]", {"p.jsonl:2", "object"});
  expect_refused("{\"prompt\": \"\xff\"}", {"p.jsonl:1"});
  expect_refused("\n\n", {"p.jsonl", "no row"});
  tokenizer_.wants_bos = false;
  expect_refused("{\"prompt\": \"\"}", {"p.jsonl:1", "empty"});
  test::expect_error(ErrorKind::kConfig, {"--prompts", "p.txt", ".jsonl"}, [this] { load("x", "p.txt"); });
  test::expect_error(ErrorKind::kData, {"no.jsonl"}, [] { load_prompts("no.jsonl", {}); });
}

TEST_F(Prompts, TextOfAnotherTokenizersVocabularyIsRefused) {
  test::expect_error(ErrorKind::kData, {"[here]", "300", "from 0 to 299"}, [this] { encode_prompt("ab", {tokenizer_}, 300, "here"); });
  EXPECT_EQ(encode_prompt("", {tokenizer_}, 300, "here"), (Ids{1}));  // BOS by itself is a prompt
  tokenizer_.specials = {{"<|x|>", 7}};
  EXPECT_EQ(encode_prompt("<|x|>", {tokenizer_}, 300, "here"), (Ids{1, 7}));
  EXPECT_EQ(encode_prompt("<|x|>", {tokenizer_, /*parse_special_tokens=*/false}, 300, "here").size(), 6U);
}

TEST(Conversation, ConsistsOfInstructionPrompts) {
  const std::string first = instruction_prompt("Say hello.", "");
  EXPECT_EQ(first,
            "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
            "### Instruction:\nSay hello.\n\n### Response:\n");
  EXPECT_EQ(conversation_prompt({{"Say hello.", ""}}), first);
  EXPECT_EQ(conversation_prompt({{"Say hello.", "Hello."}, {"Again.", ""}}),
            first + "Hello.\n\n### Instruction:\nAgain.\n\n### Response:\n");
}

}  // namespace
}  // namespace lora::data
