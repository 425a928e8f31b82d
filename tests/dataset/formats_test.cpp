// Each row format against ids and labels computed by hand.
#include <gtest/gtest.h>

#include "fake_tokenizer.h"
#include "ids.h"
#include "lora/data/dataset.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace lora::data {
namespace {

using test::Ids;
using test::kNo;

constexpr int32_t x = 'x' + 10, y = 'y' + 10, ab = 300;

struct FormatSetup {
  test::FakeTokenizer tokenizer;
  DataOptions options;
  SourceOptions source;

  explicit FormatSetup(RowFormat format) { source.format = format; }
  Example load(const std::string& row) {
    const test::TemporaryFolder folder;
    source.path = folder.write("x.jsonl", row);
    return load_dataset("data.train", {source}, options, {&tokenizer, 301}).examples.at(0);
  }
};

void expect_example(const Example& example, const Ids& ids, const Ids& labels) {
  EXPECT_EQ(example.ids(), ids);
  EXPECT_EQ(example.labels(), labels);
}

TEST(Formats, Tokens) {
  FormatSetup setup(RowFormat::kTokens);
  expect_example(setup.load(R"({"input_ids": [0, 5, 300]})"), {0, 5, 300}, {0, 5, 300});
  expect_example(setup.load(R"({"input_ids": [0, 5, 300], "labels": null})"), {0, 5, 300}, {0, 5, 300});
  const Example example = setup.load(R"({"labels": [-100, -100, 7], "input_ids": [0, 5, 300], "other": 1})");
  expect_example(example, {0, 5, 300}, {kNo, kNo, 7});
  EXPECT_EQ(example.num_supervised(), 1);
  EXPECT_TRUE(example.origin.text().ends_with("x.jsonl:1"));
  setup.source.columns = {{"input_ids", "ids"}, {"labels", "targets"}};
  expect_example(setup.load(R"({"ids": [1, 2], "targets": [-100, 2], "input_ids": "no"})"), {1, 2}, {kNo, 2});
}

TEST(Formats, Text) {
  FormatSetup setup(RowFormat::kText);
  const std::string row = R"({"text": "xab"})";
  expect_example(setup.load(row), {1, x, ab, 2}, {1, x, ab, 2});
  setup.options.append_eos = false;
  expect_example(setup.load(row), {1, x, ab}, {1, x, ab});
  setup.tokenizer.wants_eos = true;
  expect_example(setup.load(row), {1, x, ab, 2}, {1, x, ab, 2});
  setup.tokenizer.wants_bos = false;
  expect_example(setup.load(row), {x, ab, 2}, {x, ab, 2});
  setup.options.append_eos = true;
  expect_example(setup.load(row), {x, ab, 2}, {x, ab, 2});
  setup.tokenizer.wants_bos = true;
  expect_example(setup.load(R"({"text": ""})"), {1, 2}, {1, 2});
  setup.tokenizer.bos.reset();
  setup.tokenizer.eos.reset();
  expect_example(setup.load(row), {x, ab}, {x, ab});
}

// The ids are those of TRL's SFTTrainer: special tokens are parsed, a BOS in the text is an additional one, EOS is appended unless the
// text ends with it.
TEST(Formats, SpecialTokensInTexts) {
  FormatSetup text(RowFormat::kText);
  text.tokenizer.specials = {{"<s>", 1}, {"</s>", 2}, {"<|x|>", 7}};
  const std::string row = R"({"text": "<|x|>y</s>"})";
  expect_example(text.load(row), {1, 7, y, 2}, {1, 7, y, 2});
  testing::internal::CaptureStderr();
  expect_example(text.load(R"({"text": "<s>y</s>"})"), {1, 1, y, 2}, {1, 1, y, 2});
  text.load(R"({"text": "<s>y</s>"})");
  const std::string warned = testing::internal::GetCapturedStderr();
  EXPECT_NE(warned.find("x.jsonl:1] the text begins with <s>, and this tokenizer adds one to every text"), std::string::npos) << warned;
  EXPECT_EQ(warned.find("x.jsonl:1"), warned.rfind("x.jsonl:1")) << "reported twice";
  text.tokenizer.wants_eos = true;  // adds one to every text, even after an EOS
  expect_example(text.load(row), {1, 7, y, 2, 2}, {1, 7, y, 2, 2});
  text.tokenizer.wants_eos = false;
  text.options.parse_special_tokens = false;
  text.options.max_length = 64;
  EXPECT_EQ(text.load(row).ids().size(), 1 + row.size() - std::string(R"({"text": ""})").size() + 1);
  EXPECT_EQ(text.load(row).ids().back(), 2) << "the plain text of EOS is not an EOS";

  FormatSetup pair(RowFormat::kPromptCompletion);
  pair.tokenizer.specials = text.tokenizer.specials;
  expect_example(pair.load(R"({"prompt": "<|x|>", "completion": "y</s>"})"), {1, 7, y, 2}, {kNo, kNo, y, 2});
  // An EOS at the end of the prompt does not end the completion.
  expect_example(pair.load(R"({"prompt": "x</s>", "completion": ""})"), {1, x, 2, 2}, {kNo, kNo, kNo, 2});
  expect_example(pair.load(R"({"prompt": "x<", "completion": "/s>"})"), {1, x, 2, 2}, {kNo, kNo, 2, 2});
  pair.options.parse_special_tokens = false;
  EXPECT_EQ(pair.load(R"({"prompt": "<|x|>", "completion": "y"})").ids().size(), 8U);

  FormatSetup label(RowFormat::kClassification);
  label.tokenizer.specials = text.tokenizer.specials;
  EXPECT_EQ(label.load(R"({"text": "x<|x|>", "label": 1})").ids(), (Ids{1, x, 7}));
  label.options.parse_special_tokens = false;
  EXPECT_EQ(label.load(R"({"text": "x<|x|>", "label": 1})").ids().size(), 7U);
}

TEST(Formats, PromptCompletion) {
  FormatSetup setup(RowFormat::kPromptCompletion);
  expect_example(setup.load(R"({"prompt": "xx", "completion": "yab"})"), {1, x, x, y, ab, 2}, {kNo, kNo, kNo, y, ab, 2});
  // A token across the border is supervised.
  expect_example(setup.load(R"({"prompt": "xa", "completion": "by"})"), {1, x, ab, y, 2}, {kNo, kNo, ab, y, 2});
  expect_example(setup.load(R"({"prompt": "", "completion": "y"})"), {1, y, 2}, {kNo, y, 2});
  expect_example(setup.load(R"({"prompt": "x", "completion": ""})"), {1, x, 2}, {kNo, kNo, 2});
  setup.options.train_on = TrainOn::kAll;
  expect_example(setup.load(R"({"prompt": "xa", "completion": "by"})"), {1, x, ab, y, 2}, {1, x, ab, y, 2});
  setup.options.train_on = TrainOn::kCompletion;
  // An EOS after the prompt by itself is not part of the joint text.
  setup.tokenizer.wants_eos = true;
  setup.options.append_eos = false;
  expect_example(setup.load(R"({"prompt": "x", "completion": "y"})"), {1, x, y, 2}, {kNo, kNo, y, 2});
  setup.tokenizer.wants_bos = false;
  expect_example(setup.load(R"({"prompt": "x", "completion": "y"})"), {x, y, 2}, {kNo, y, 2});
  setup.source.columns = {{"prompt", "q"}, {"completion", "a"}};
  expect_example(setup.load(R"({"q": "x", "a": "y"})"), {x, y, 2}, {kNo, y, 2});
}

TEST(Formats, Instruction) {
  FormatSetup setup(RowFormat::kInstruction);
  const std::string with_input =
      "Below is an instruction that describes a task, paired with an input that provides further context. Write a response that "
      "appropriately completes the request.\n\n### Instruction:\nAdd.\n\n### Input:\n1 2\n\n### Response:\n";
  const std::string without_input =
      "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n### "
      "Instruction:\nAdd.\n\n### Response:\n";
  const std::vector<std::pair<std::string, std::string>> cases{
      {R"({"instruction": "Add.", "input": "1 2", "output": "3"})", with_input},
      {R"({"instruction": "Add.", "input": "", "output": "3"})", without_input},
      {R"({"instruction": "Add.", "input": null, "output": "3"})", without_input},
      {R"({"instruction": "Add.", "output": "3"})", without_input},
  };
  for (const auto& [row, prompt] : cases) {
    const Example example = setup.load(row);
    EXPECT_EQ(setup.tokenizer.decode(example.ids(), false), prompt + "3");
    EXPECT_EQ(example.num_supervised(), 2);
    const Ids labels = example.labels();
    EXPECT_EQ(Ids(labels.end() - 3, labels.end()), (Ids{kNo, '3' + 10, 2}));
  }
}

TEST(Formats, ConfigErrors) {
  FormatSetup setup(RowFormat::kPromptCompletion);
  setup.source.columns = {{"promt", "q"}};
  test::expect_error(ErrorKind::kConfig, {"data.train[0].columns", "\"promt\"", "prompt, completion", "did you mean"},
                     [&] { setup.load("{}"); });
  setup.source.columns.clear();
  setup.source.weight = 0;
  test::expect_error(ErrorKind::kConfig, {"data.train[0].weight", "above 0"}, [&] { setup.load("{}"); });
  setup.source.weight = std::numeric_limits<double>::quiet_NaN();
  test::expect_error(ErrorKind::kConfig, {"data.train[0].weight"}, [&] { setup.load("{}"); });
  setup.source.weight = 1;
  setup.options.max_length = 1;
  test::expect_error(ErrorKind::kConfig, {"data.max_length", "at least 2"}, [&] { setup.load("{}"); });
  setup.options.max_length = 8;
  test::expect_error(ErrorKind::kConfig, {"data.eval[0].format", "prompt_completion needs a tokenizer", "tokens rows"}, [&] {
    load_dataset("data.eval", {setup.source}, setup.options, {nullptr, 300});
  });
  // A column that is named explicitly and that no row has.
  FormatSetup tokens(RowFormat::kTokens);
  tokens.source.columns = {{"labels", "lables"}};
  test::expect_error(ErrorKind::kData, {"data.train[0].columns", "no row has the column \"lables\""},
                     [&] { tokens.load(R"({"input_ids": [1, 2], "labels": [1, 2]})"); });
}

}  // namespace
}  // namespace lora::data
