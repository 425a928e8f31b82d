// Rows after their format has encoded them: length, limits, skipping, holding out.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "fake_tokenizer.h"
#include "ids.h"
#include "lora/base/file.h"
#include "lora/data/batches.h"
#include "lora/data/dataset.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace lora::data {
namespace {

using test::expect_error;
using test::kNo;
using testing::ElementsAre;

std::string tokens_row(int64_t length, int64_t first_supervised = 0) {
  std::string ids, labels;
  for (int64_t i = 0; i < length; ++i) {
    ids += (i > 0 ? "," : "") + std::to_string(i);
    labels += (i > 0 ? "," : "") + std::to_string(i < first_supervised ? kNo : i);
  }
  return "{\"input_ids\": [" + ids + "], \"labels\": [" + labels + "]}\n";
}

struct LoadingSetup {
  test::TemporaryFolder folder;
  DataOptions options;
  SourceOptions source;

  LoadingSetup() {
    source.format = RowFormat::kTokens;
    options.max_length = 4;
  }
  Dataset load(const std::string& content) {
    source.path = folder.write("x.jsonl", content);
    return load_dataset("data.train", {source}, options, {nullptr, 100});
  }
};

TEST(Loading, Truncate) {
  LoadingSetup setup;
  const Dataset dataset = setup.load(tokens_row(4) + tokens_row(6, 2) + tokens_row(6, 4));
  ASSERT_EQ(dataset.examples.size(), 2U);
  EXPECT_THAT(dataset.examples[1].ids(), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(dataset.examples[1].labels(), ElementsAre(kNo, kNo, 2, 3));
  EXPECT_EQ(dataset.report.rows, 3);
  EXPECT_EQ(dataset.report.truncated, 2);
  EXPECT_EQ(dataset.report.skipped, 1);
  EXPECT_THAT(dataset.report.skipped_origins, ElementsAre(setup.source.path + ":3"));
  EXPECT_EQ(dataset.num_tokens(), 8);
  EXPECT_EQ(dataset.num_supervised(), 5);
}

TEST(Loading, DropErrorSplit) {
  LoadingSetup setup;
  const std::string content = tokens_row(3) + tokens_row(9, 2);
  setup.options.overlength = Overlength::kDrop;
  Dataset dataset = setup.load(content);
  EXPECT_EQ(dataset.examples.size(), 1U);
  EXPECT_EQ(dataset.report.dropped, 1);
  EXPECT_EQ(dataset.report.skipped, 0);

  setup.options.overlength = Overlength::kError;
  expect_error(ErrorKind::kData, {"x.jsonl:2]", "found 9 tokens", "data.max_length = 4", "data.overlength"}, [&] { setup.load(content); });

  setup.options.overlength = Overlength::kSplit;
  dataset = setup.load(content + tokens_row(12, 7) + tokens_row(5, 5));
  EXPECT_EQ(dataset.report.split, 3);
  EXPECT_EQ(dataset.report.skipped, 1);
  std::vector<std::vector<int32_t>> ids, labels;
  for (const Example& example : dataset.examples) {
    ids.push_back(example.ids());
    labels.push_back(example.labels());
  }
  // The ninth token of row 2 is a part of its own and cannot be predicted; the first part of row 3 is only prompt.
  EXPECT_THAT(ids, ElementsAre(ElementsAre(0, 1, 2), ElementsAre(0, 1, 2, 3), ElementsAre(4, 5, 6, 7), ElementsAre(4, 5, 6, 7),
                               ElementsAre(8, 9, 10, 11)));
  EXPECT_THAT(labels[1], ElementsAre(kNo, kNo, 2, 3));
  EXPECT_THAT(labels[2], ElementsAre(4, 5, 6, 7));
  EXPECT_THAT(labels[3], ElementsAre(kNo, kNo, kNo, 7));
  EXPECT_EQ(dataset.examples[2].origin.text(), setup.source.path + ":2");
}

// For a model that was trained with BOS, each part begins with it; it counts in max_length, and every token is supervised once.
TEST(Loading, PartsBeginWithTheDocumentsBos) {
  test::FakeTokenizer tokenizer;  // BOS 1
  LoadingSetup setup;
  setup.options.overlength = Overlength::kSplit;
  setup.options.append_eos = false;
  const auto load = [&](RowFormat format, const std::string& row) {
    setup.source.format = format;
    setup.source.path = setup.folder.write("x.jsonl", row);
    return load_dataset("data.train", {setup.source}, setup.options, {&tokenizer, 301}).examples;
  };
  const auto expect_parts = [](const std::vector<Example>& parts, const std::vector<std::vector<int32_t>>& ids,
                               const std::vector<std::vector<int32_t>>& labels) {
    ASSERT_EQ(parts.size(), ids.size());
    for (size_t i = 0; i < parts.size(); ++i) {
      EXPECT_EQ(parts[i].ids(), ids[i]) << i;
      EXPECT_EQ(parts[i].labels(), labels[i]) << i;
      EXPECT_EQ(parts[i].continues_row, i > 0) << i;
    }
  };
  const std::vector<std::vector<int32_t>> three{{1, 107, 108, 109}, {1, 110, 111, 112}, {1, 113}};
  expect_parts(load(RowFormat::kText, R"({"text": "bcdefgh"})"), {{1, 108, 109, 110}, {1, 111, 112, 113}, {1, 114}},
               {{1, 108, 109, 110}, {1, 111, 112, 113}, {1, 114}});
  expect_parts(load(RowFormat::kTokens, R"({"input_ids": [1, 107, 108, 109, 110, 111, 112, 113]})"), three, three);
  expect_parts(load(RowFormat::kPromptCompletion, R"({"prompt": "bcdef", "completion": "ghi"})"), {{1, 111, 112, 113}, {1, 114, 115}},
               {{kNo, kNo, kNo, 113}, {kNo, 114, 115}});
  // If the document does not begin with BOS, or there is none, the parts have only their own ids.
  expect_parts(load(RowFormat::kTokens, R"({"input_ids": [5, 1, 6, 7, 8]})"), {{5, 1, 6, 7}}, {{5, 1, 6, 7}});
  tokenizer.bos.reset();
  expect_parts(load(RowFormat::kTokens, R"({"input_ids": [1, 5, 6, 7, 8, 9]})"), {{1, 5, 6, 7}, {8, 9}}, {{1, 5, 6, 7}, {8, 9}});
}

TEST(Loading, EveryDocumentInAPackOfPartsHasOneBos) {
  test::FakeTokenizer tokenizer;  // BOS 1
  LoadingSetup setup;
  setup.source.format = RowFormat::kText;
  setup.options.overlength = Overlength::kSplit;
  std::string rows;
  for (const char* text : {"bcdefgh", "b", "cd", "efghijklmno", "bc"}) {
    rows += R"({"text": ")" + std::string(text) + "\"}\n";
  }
  setup.source.path = setup.folder.write("x.jsonl", rows);
  const Dataset dataset = load_dataset("data.train", {setup.source}, setup.options, {&tokenizer, 301});
  const BatchOptions packs{2, /*packing=*/true, /*max_length=*/8};
  std::vector<int64_t> seen;
  for (const std::vector<int64_t>& indices : plan_epoch(dataset, packs, 0)) {
    const nn::Batch batch = make_batch(dataset, indices);
    for (int64_t d = 0; d < batch.num_documents(); ++d) {
      const int64_t begin = batch.layout.host_offsets[d];
      const at::Tensor ids = batch.tokens().ids_T.slice(0, begin, batch.layout.host_offsets[d + 1]);
      EXPECT_EQ(ids[0].item<int64_t>(), 1);
      EXPECT_EQ((ids == 1).sum().item<int64_t>(), 1);
      EXPECT_EQ(batch.layout.positions_T[begin].item<int64_t>(), 0);
      EXPECT_EQ(batch.labels().labels_T[begin].item<int64_t>(), ids[1].item<int64_t>()) << "the first token after BOS is supervised";
    }
    seen.insert(seen.end(), batch.layout.sample_ids.begin(), batch.layout.sample_ids.end());
  }
  std::sort(seen.begin(), seen.end());
  EXPECT_EQ(seen.size(), dataset.examples.size());
  EXPECT_EQ(std::set<int64_t>(seen.begin(), seen.end()).size(), seen.size());
}

TEST(Loading, SkippedRowsAreCountedAndTheFirstTenNamed) {
  LoadingSetup setup;
  std::string content = "{\"input_ids\": []}\n{\"input_ids\": [1]}\n";
  for (int i = 0; i < 10; ++i) {
    content += "{\"input_ids\": [1, 2], \"labels\": [1, -100]}\n";
  }
  testing::internal::CaptureStderr();
  const Dataset dataset = setup.load(content + tokens_row(2));
  const std::string warned = testing::internal::GetCapturedStderr();
  EXPECT_EQ(dataset.examples.size(), 1U);
  EXPECT_EQ(dataset.report.skipped, 12);
  EXPECT_EQ(dataset.report.skipped_origins.size(), 10U);
  EXPECT_THAT(warned, testing::HasSubstr("12 of 13 rows have no supervised token"));
  EXPECT_THAT(warned, testing::HasSubstr("x.jsonl:2 and 10 more"));

  expect_error(ErrorKind::kData, {"data.train]", "no example is left", "read 12 rows", "12 skipped", "x.jsonl:1,", "x.jsonl:2 and 10 more"},
               [&] { setup.load(content); });
  expect_error(ErrorKind::kData, {"data.train]", "read 0 rows", "paths and limits"}, [&] { setup.load("\n"); });
  setup.options.overlength = Overlength::kDrop;
  expect_error(ErrorKind::kData, {"read 2 rows, 2 dropped as longer than data.max_length = 4"},
               [&] { setup.load(tokens_row(5) + tokens_row(6)); });
}

TEST(Loading, SourcesLimitsWeightsAndHashes) {
  LoadingSetup setup;
  setup.folder.write("a1.jsonl", tokens_row(2) + tokens_row(3));
  setup.folder.write("a2.jsonl", tokens_row(4) + "damaged, but not read\n");
  setup.folder.write("b.json", "[" + tokens_row(2) + "]");
  setup.folder.write("c.csv", "input_ids,labels\n\"[1,2]\",\"[-100, 2]\"\n\"[3,4]\",\n");
  SourceOptions a{setup.folder / "a?.jsonl", RowFormat::kTokens, {}, 0.5, 3};
  SourceOptions b{setup.folder / "b.json", RowFormat::kTokens, {}, 2.0, std::nullopt};
  SourceOptions c{setup.folder / "c.csv", RowFormat::kTokens, {}, 1.0, std::nullopt};
  const Dataset dataset = load_dataset("data.train", {a, b, c}, setup.options, {nullptr, 100});
  std::vector<size_t> sizes;
  std::vector<double> weights;
  for (const Example& example : dataset.examples) {
    sizes.push_back(example.ids().size());
    weights.push_back(example.weight);
  }
  EXPECT_THAT(sizes, ElementsAre(2, 3, 4, 2, 2, 2));
  EXPECT_THAT(weights, ElementsAre(0.5, 0.5, 0.5, 2.0, 1.0, 1.0));
  EXPECT_THAT(dataset.examples[4].labels(), ElementsAre(kNo, 2));
  EXPECT_THAT(dataset.examples[5].labels(), ElementsAre(3, 4));
  ASSERT_EQ(dataset.files.size(), 4U);
  EXPECT_EQ(dataset.files[1].path, setup.folder / "a2.jsonl");
  EXPECT_EQ(dataset.files[1].sha256, sha256_of_file(setup.folder / "a2.jsonl", ErrorKind::kData));
  a.limit = 0;
  EXPECT_EQ(load_dataset("data.train", {a, b}, setup.options, {nullptr, 100}).examples.size(), 1U);
}

TEST(Loading, SplitOff) {
  LoadingSetup setup;
  setup.source.weight = 2.0;
  setup.options.overlength = Overlength::kSplit;
  std::string content;
  for (int i = 0; i < 200; ++i) {
    content += tokens_row(i % 2 == 0 ? 8 : 2);
  }
  const auto origins = [](const Dataset& dataset) {
    std::set<std::string> result;
    for (const Example& example : dataset.examples) {
      result.insert(example.origin.text());
    }
    return result;
  };
  Dataset train = setup.load(content);
  const Dataset eval = split_off(train, 0.25, 1);
  EXPECT_EQ(train.examples.size() + eval.examples.size(), 300U);
  EXPECT_NEAR(static_cast<double>(origins(eval).size()), 50, 20);
  EXPECT_EQ(origins(train).size() + origins(eval).size(), 200U) << "parts of one row in both sets";
  EXPECT_EQ(eval.examples[0].weight, 1.0);
  EXPECT_EQ(train.examples[0].weight, 2.0);
  EXPECT_EQ(eval.files.size(), 1U);

  Dataset again = setup.load(content);
  EXPECT_EQ(origins(split_off(again, 0.25, 1)), origins(eval));
  again = setup.load(content);
  EXPECT_NE(origins(split_off(again, 0.25, 2)), origins(eval));
  for (const double fraction : {1e-9, 1.0 - 1e-9}) {
    Dataset two = setup.load(tokens_row(2) + tokens_row(3));
    EXPECT_EQ(split_off(two, fraction, 3).examples.size(), 1U);
    EXPECT_EQ(two.examples.size(), 1U);
  }
  setup.source.path = setup.folder.write("line.json", R"([{"input_ids": [1, 2]}, {"input_ids": [3, 4]}])");
  Dataset line = load_dataset("data.train", {setup.source}, setup.options, {nullptr, 100});
  EXPECT_EQ(split_off(line, 0.5, 1).examples.size(), 1U) << "rows on the same line are separate rows";
  Dataset one = setup.load(tokens_row(8));
  expect_error(ErrorKind::kData, {"data.eval_fraction", "at least 2"}, [&] { split_off(one, 0.5, 1); });
}

}  // namespace
}  // namespace lora::data
