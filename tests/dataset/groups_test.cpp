// Documents that are compared with each other are one example: nothing separates them.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/dataset_cache.h"
#include "data/row_encoder.h"
#include "fake_tokenizer.h"
#include "lora/data/batches.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace lora::data {
namespace {

using testing::ElementsAre;

std::vector<int32_t> ids_of(size_t length, int32_t first) {
  std::vector<int32_t> ids(length);
  for (size_t i = 0; i < length; ++i) {
    ids[i] = first + static_cast<int32_t>(i);
  }
  return ids;
}

/// Two documents of these lengths, supervised from their third token on.
Example pair_of(size_t first, size_t second) {
  DocumentGroup group;
  for (const size_t length : {first, second}) {
    std::vector<int32_t> ids = ids_of(length, 10), labels = ids;
    std::fill_n(labels.begin(), 2, -100);
    group.documents.emplace_back(std::move(ids), labels);
  }
  return Example(std::move(group));
}

SourceOptions source_of_pairs() {
  SourceOptions source;
  source.path = "rows.jsonl";
  return source;
}

Dataset six_pairs() {
  Dataset dataset;
  for (const size_t length : {3U, 7U, 4U, 5U, 9U, 3U}) {
    dataset.examples.push_back(pair_of(length, length + 1));
  }
  return dataset;
}

TEST(DocumentGroups, CountTheTokensOfAllTheirDocuments) {
  const Example pair = pair_of(4, 7);
  EXPECT_EQ(pair.num_documents(), 2U);
  EXPECT_EQ(pair.num_tokens(), 11);
  EXPECT_EQ(pair.longest_document(), 7);
  EXPECT_EQ(pair.num_supervised(), 2 + 5);
  EXPECT_EQ(pair.ids(1), ids_of(7, 10));
  EXPECT_EQ(pair.label(1, 1), -100);
  EXPECT_EQ(pair.label(6, 1), 16);
  EXPECT_THAT(pair.labels(0), ElementsAre(-100, -100, 12, 13));
  EXPECT_FALSE(pair.has_target());
  EXPECT_EQ(Example({1, 2, 3}, {1, 2, 3}).num_documents(), 1U);
  EXPECT_EQ(Example({1, 2, 3}, {1, 2, 3}).longest_document(), 3);
}

TEST(DocumentGroups, LieNextToEachOtherInTheirBatch) {
  Dataset dataset = six_pairs();
  dataset.examples[1] = Example({1, 2}, {1, 2});
  const nn::Batch batch = make_batch(dataset, {2, 1, 0, 0});
  EXPECT_THAT(batch.layout.sample_ids, ElementsAre(2, 2, 1, 0, 0, 0, 0));
  EXPECT_THAT(batch.layout.numbers, ElementsAre(0, 1, 0, 0, 1, 0, 1));
  EXPECT_THAT(batch.layout.host_offsets, ElementsAre(0, 4, 9, 11, 14, 18, 21, 25));
  EXPECT_EQ(batch.num_supervised(), dataset.examples[2].num_supervised() + 1 + 2 * dataset.examples[0].num_supervised());
}

TEST(DocumentGroups, AreDividedOnlyBetweenExamples) {
  const Dataset dataset = six_pairs();
  for (const BatchOptions& options : {BatchOptions{.batch_size = 2}, BatchOptions{.packing = true, .max_length = 20},
                                      BatchOptions{.tokens_per_batch = 20}}) {
    for (const std::vector<int64_t>& batch : plan_epoch(dataset, options, 0)) {
      for (const std::vector<int64_t>& part : spread_by_tokens(dataset, batch, /*tokens=*/10, /*multiple=*/2)) {
        const nn::Batch built = make_batch(dataset, part);
        ASSERT_EQ(built.num_documents(), 2 * static_cast<int64_t>(part.size()));
        for (int64_t d = 0; d < built.num_documents(); d += 2) {
          EXPECT_EQ(built.layout.sample_ids[d], built.layout.sample_ids[d + 1]);
          EXPECT_EQ(built.layout.numbers[d] + 1, built.layout.numbers[d + 1]);
        }
      }
    }
  }
}

TEST(DocumentGroups, AreCached) {
  const test::TemporaryFolder folder;
  const std::vector<SourceOptions> sources{source_of_pairs()};
  const std::vector<PlannedFile> files{{"rows.jsonl", nullptr, 0, std::make_shared<const std::string>("rows.jsonl")}};
  RowSet set;
  set.examples = {pair_of(4, 7), Example({1, 2, 3}, {1, 2, 9}), pair_of(3, 3)};
  for (Example& example : set.examples) {
    example.origin = {files[0].name, 5};
  }
  set.unused_columns.resize(1);
  set.rows_of_files = {3};
  set.hashes = {"hash"};
  const DatasetCache cache(folder.path(), "key");
  cache.save(set, files);
  const std::optional<RowSet> loaded = cache.load(sources, files, {"hash"});
  ASSERT_TRUE(loaded);
  ASSERT_EQ(loaded->examples.size(), 3U);
  for (size_t i = 0; i < 3; ++i) {
    ASSERT_EQ(loaded->examples[i].content.index(), set.examples[i].content.index());
    ASSERT_EQ(loaded->examples[i].num_documents(), set.examples[i].num_documents());
    for (size_t document = 0; document < set.examples[i].num_documents(); ++document) {
      EXPECT_EQ(loaded->examples[i].ids(document), set.examples[i].ids(document));
      EXPECT_EQ(loaded->examples[i].labels(document), set.examples[i].labels(document));
    }
  }
}

/// What a row with these documents becomes; each is supervised after its first two tokens.
EncodedRow encoded(const std::vector<size_t>& lengths, Overlength overlength, bool keep_unsupervised = false) {
  const test::FakeTokenizer tokenizer;
  const SourceOptions source = source_of_pairs();
  DataOptions options;
  options.max_length = 6;
  options.overlength = overlength;
  LoadContext context{&tokenizer, 301};
  context.keep_unsupervised = keep_unsupervised;
  EncodedGroup group;
  for (const size_t length : lengths) {
    EncodedDocument document{ids_of(length, 10), ids_of(length, 10)};
    std::fill_n(document.labels.begin(), std::min<size_t>(2, length), -100);
    group.documents.push_back(std::move(document));
  }
  EncodedRow row;
  RowEncoder(source, options, context, {}).add({std::move(group)}, "rows.jsonl:3", row);
  return row;
}

TEST(DocumentGroups, AreTruncatedOrDroppedAsAWhole) {
  const EncodedRow cut = encoded({4, 9}, Overlength::kTruncate);
  ASSERT_EQ(cut.examples.size(), 1U);
  EXPECT_TRUE(cut.overlong);
  EXPECT_EQ(cut.examples[0].ids(0), ids_of(4, 10));
  EXPECT_EQ(cut.examples[0].ids(1), ids_of(6, 10));
  EXPECT_TRUE(encoded({4, 9}, Overlength::kDrop).examples.empty());
  EXPECT_EQ(encoded({4, 6}, Overlength::kDrop).examples.size(), 1U);
  test::expect_error(ErrorKind::kData, {"rows.jsonl:3", "too long", "found 9"}, [] { encoded({4, 9}, Overlength::kError); });
  test::expect_error(ErrorKind::kData, {"rows.jsonl:3", "cannot be split", "found 9", "data.max_length = 6"},
                     [] { encoded({4, 9}, Overlength::kSplit); });
  EXPECT_EQ(encoded({4, 6}, Overlength::kSplit).examples.size(), 1U);
}

TEST(DocumentGroups, AreSkippedIfADocumentHasNothingToPredict) {
  const EncodedRow row = encoded({5, 2}, Overlength::kTruncate);
  EXPECT_TRUE(row.examples.empty());
  EXPECT_TRUE(row.skipped);
  EXPECT_EQ(encoded({5, 2}, Overlength::kTruncate, /*keep_unsupervised=*/true).examples.size(), 1U);
}

}  // namespace
}  // namespace lora::data
