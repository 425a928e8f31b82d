// Columns of token rows that other trainers use.
#include <gtest/gtest.h>

#include "ids.h"
#include "lora/data/dataset.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace lora::data {
namespace {

using test::Ids;
using test::kNo;

Dataset load(const std::string& row, TrainOn train_on = TrainOn::kCompletion) {
  const test::TemporaryFolder folder;
  SourceOptions source;
  source.path = folder.write("x.jsonl", row);
  source.format = RowFormat::kTokens;
  DataOptions options;
  options.train_on = train_on;
  return load_dataset("data.train", {source}, options, {nullptr, 301});
}

Ids labels(const std::string& columns, TrainOn train_on = TrainOn::kCompletion) {
  return load(R"({"input_ids": [5, 6, 7, 8], )" + columns + "}", train_on).examples.at(0).labels();
}

std::vector<Ids> documents(const std::string& columns) {
  std::vector<Ids> all;
  for (const Example& example : load(R"({"input_ids": [5, 6, 7, 8, 9, 10], )" + columns + "}").examples) {
    all.push_back(example.ids());
  }
  return all;
}

void expect_refused_columns(const std::string& columns, const std::vector<std::string>& parts) {
  SCOPED_TRACE(columns);
  test::expect_error(ErrorKind::kData, parts, [&] { labels(columns); });
}

TEST(TokenRows, Masks) {
  EXPECT_EQ(labels(R"("completion_mask": [0, 0, 1, 1])"), (Ids{kNo, kNo, 7, 8}));
  EXPECT_EQ(labels(R"("completion_mask": [0, 0, 1, 1])", TrainOn::kAll), (Ids{5, 6, 7, 8}));
  EXPECT_EQ(labels(R"("assistant_masks": [false, true, false, true])", TrainOn::kAll), (Ids{kNo, 6, kNo, 8}));
  EXPECT_EQ(labels(R"("assistant_masks": [0, 1, 0, 1], "completion_mask": [0, 0, 1, 1])"), (Ids{kNo, kNo, kNo, 8}));
  EXPECT_EQ(labels(R"("loss_mask": [0, 1, 1, 1], "mask": [1, 1, 0, 1])"), (Ids{kNo, 6, kNo, 8}));
  EXPECT_EQ(labels(R"("labels": [-100, 1, 2, 3], "completion_mask": [0, 1, 1, 1])"), (Ids{kNo, 1, 2, 3}));
  expect_refused_columns(R"("labels": [4, 1, 2, 3], "completion_mask": [0, 1, 1, 1])",
                         {"x.jsonl:1]", "\"completion_mask\"", "labels has 4"});
  expect_refused_columns(R"("completion_mask": [0, 1, 1])", {"\"completion_mask\"", "found 3 values", "expected 4"});
  expect_refused_columns(R"("assistant_masks": [0, 1, 1, 2])", {"\"assistant_masks\"", "found 2 at 3"});
  expect_refused_columns(R"("mask": "0111")", {"\"mask\"", "found a string"});
  expect_refused_columns(R"("images": ["a.png"])", {"x.jsonl:1]", "\"images\"", "other tools use"});
  EXPECT_EQ(labels(R"("images": [], "videos": null)"), (Ids{5, 6, 7, 8}));
}

TEST(TokenRows, PaddingAndSeveralDocuments) {
  EXPECT_EQ(documents(R"("attention_mask": [1, 1, 1, 1, 0, 0])"), (std::vector<Ids>{{5, 6, 7, 8}}));
  EXPECT_EQ(documents(R"("attention_mask": [0, 0, 1, 1, 1, 1])"), (std::vector<Ids>{{7, 8, 9, 10}}));
  EXPECT_EQ(documents(R"("attention_mask": [true, true, false, false, false, false])"), (std::vector<Ids>{{5, 6}}));
  EXPECT_EQ(documents(R"("attention_mask": [1, 1, 2, 2, 2, 0])"), (std::vector<Ids>{{5, 6}, {7, 8, 9}}));
  EXPECT_EQ(documents(R"("seq_lengths": [2, 4])"), (std::vector<Ids>{{5, 6}, {7, 8, 9, 10}}));
  EXPECT_EQ(documents(R"("position_ids": [0, 1, 2, 0, 1, 2])"), (std::vector<Ids>{{5, 6, 7}, {8, 9, 10}}));
  EXPECT_EQ(documents(R"("position_ids": [0, 1, 2, 3, 4, 5])"), (std::vector<Ids>{{5, 6, 7, 8, 9, 10}}));
  EXPECT_EQ(documents(R"("position_ids": [1, 1, 0, 1, 0, 1], "attention_mask": [0, 0, 1, 1, 1, 1])"), (std::vector<Ids>{{7, 8}, {9, 10}}));
  EXPECT_EQ(documents(R"("seq_lengths": [3, 3], "position_ids": [0, 1, 2, 0, 1, 2], "attention_mask": [1, 1, 1, 1, 1, 0])"),
            (std::vector<Ids>{{5, 6, 7}, {8, 9}}));
  const Dataset several = load(R"({"input_ids": [5, 6, 7, 8], "labels": [-100, 6, 7, 8], "seq_lengths": [2, 2]})");
  EXPECT_EQ(several.examples.at(0).labels(), (Ids{kNo, 6}));
  EXPECT_EQ(several.examples.at(1).labels(), (Ids{7, 8}));
  EXPECT_TRUE(several.examples.at(1).continues_row);
  EXPECT_EQ(several.report.rows, 1);
  expect_refused_columns(R"("attention_mask": [1, 1, 0, 1])", {"\"attention_mask\"", "found 0 between ones"});
  expect_refused_columns(R"("attention_mask": [2, 2, 1, 1])", {"\"attention_mask\"", "found 1 after 2"});
  expect_refused_columns(R"("attention_mask": [1, 1, 1])", {"\"attention_mask\"", "found 3"});
  expect_refused_columns(R"("seq_lengths": [2, 3])", {"\"seq_lengths\"", "add up to 5", "expected 4"});
  expect_refused_columns(R"("seq_lengths": [2, 0, 2])", {"seq_lengths[1]: found 0"});
  expect_refused_columns(R"("position_ids": [0, 1, 3, 4])", {"\"position_ids\"", "found 3 at 2", "expected 2, or 0"});
  expect_refused_columns(R"("position_ids": [7, 8, 9, 10])", {"\"position_ids\"", "found 7 at 0"});
}

TEST(TokenRows, UnusedColumnsAreNamed) {
  const Dataset dataset = load("{\"input_ids\": [5, 6], \"length\": 2, \"mask\": [1, 1]}\n{\"input_ids\": [5, 6], \"source\": NaN}\n");
  ASSERT_EQ(dataset.report.unused_columns.size(), 1U);
  EXPECT_TRUE(dataset.report.unused_columns[0].ends_with("x.jsonl: length, source")) << dataset.report.unused_columns[0];
}

}  // namespace
}  // namespace lora::data
