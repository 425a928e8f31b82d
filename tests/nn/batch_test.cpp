#include "lora/nn/batch.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <optional>

#include "lora/nn/pass.h"
#include "support/batches.h"
#include "support/tensors.h"

namespace lora::nn {
namespace {

using test::batch_of;
using test::Document;
using test::expect_equal;

Tensor longs(const std::vector<int64_t>& values) {
  return at::tensor(values, at::kLong);
}

TEST(TokenBatch, PacksDocumentsEndToEndWithShiftedLabels) {
  const std::vector<Document> documents{{{5, 6, 7}, {-100, 6, 7}, 4}, {{8}, {8}, 9}, {{1, 2, 3, 4}, {1, -100, 3, -100}, 2}};
  const Batch batch = batch_of(documents);
  expect_equal(batch.tokens().ids_T, longs({5, 6, 7, 8, 1, 2, 3, 4}));
  expect_equal(batch.layout.positions_T, longs({0, 1, 2, 0, 0, 1, 2, 3}));
  // The label of a position is the token that follows; a document's last position has none, its first label is never used.
  expect_equal(batch.labels().labels_T, longs({6, 7, -100, -100, -100, 3, -100, -100}));
  expect_equal(batch.labels().supervised_S, longs({0, 1, 5}));
  expect_equal(batch.layout.offsets, at::tensor({0, 3, 4, 8}, at::kInt));
  EXPECT_EQ(batch.layout.host_offsets, (std::vector<int64_t>{0, 3, 4, 8}));
  EXPECT_EQ(batch.layout.sample_ids, (std::vector<int64_t>{4, 9, 2}));
  EXPECT_EQ(batch.layout.max_document, 4);
  EXPECT_EQ(batch.num_supervised(), 3);
  EXPECT_EQ(batch.num_tokens(), 8);
  EXPECT_EQ(batch.num_documents(), 3);
  const Batch moved = batch.to(at::kCPU);
  expect_equal(moved.tokens().ids_T, batch.tokens().ids_T);
  EXPECT_EQ(moved.num_supervised(), 3);
}

TEST(TokenBatch, NoDocumentsAreNoTokens) {
  const Batch batch = make_token_batch({});
  EXPECT_EQ(batch.num_tokens(), 0);
  EXPECT_EQ(batch.num_documents(), 0);
  EXPECT_EQ(Batch().num_tokens(), 0);
}

TEST(Batch, HasOneKindOfContentAndOfTargets) {
  const Tensor values = at::arange(6, at::kFloat).view({2, 3});
  Batch rows{make_layout({{1, 4}, {1, 9}}), Features{values}, DocumentTargets{longs({1, 0})}};
  EXPECT_EQ(rows.num_tokens(), 2) << "a row is a document of one position";
  EXPECT_EQ(rows.num_supervised(), 0);
  EXPECT_THROW(rows.tokens(), c10::Error);
  EXPECT_THROW(rows.labels(), c10::Error);
  const Batch doubled = rows.with_tensors([](const Tensor& tensor) { return tensor * 2; });
  expect_equal(doubled.features().values, values * 2);
  expect_equal(doubled.document_targets().values, longs({2, 0}));
  rows.copy_tensors(doubled);
  expect_equal(rows.features().values, at::arange(6, at::kFloat).view({2, 3}) * 2);
  EXPECT_THROW(rows.copy_tensors(batch_of({{{8}, {8}, 9}, {{8}, {8}, 9}})), c10::Error);

  const Batch pair = batch_of({{{1, 2}, {}, 0}, {{3, 4, 5}, {}, 1, /*second_text=*/1}});
  EXPECT_THROW(pair.features(), c10::Error);
  EXPECT_THROW(pair.document_targets(), c10::Error);
  expect_equal(pair.tokens().segments_T.value(), longs({0, 0, 0, 1, 1}));
  EXPECT_FALSE(batch_of({{{1, 2}, {}, 0}}).tokens().segments_T.has_value());
}

TEST(Pass, OutlivesTheBatchThatItWasMadeFrom) {
  std::optional<Pass> kept;
  {
    const Batch batch = batch_of({{{5, 6, 7}, {}, 4}});
    const Pass pass = training_pass(batch, 42, 7, Recompute::kLayers);
    kept = pass.of_rows(pass.row_keys_T.slice(0, 1, 2));
  }
  expect_equal(kept->batch().tokens().ids_T, longs({5, 6, 7}));
  EXPECT_EQ(kept->layout().host_offsets, (std::vector<int64_t>{0, 3}));
  EXPECT_TRUE(kept->training());
  EXPECT_EQ(kept->recompute, Recompute::kNothing);
}

TEST(Pass, KeysDoNotDependOnHowDocumentsAreSplitIntoBatches) {
  const std::vector<Document> documents = test::documents_of({3, 5, 4}, 50);
  const Batch all = batch_of(documents);
  const Pass pass = training_pass(all, 42, 7);
  ASSERT_TRUE(pass.training());
  EXPECT_FALSE(evaluation_pass(all).training());
  const Batch turned = batch_of({documents[2], documents[0]});
  const Tensor turned_keys = training_pass(turned, 42, 7).row_keys_T;
  expect_equal(turned_keys.slice(0, 0, 4), pass.row_keys_T.slice(0, 8, 12));
  expect_equal(turned_keys.slice(0, 4, 7), pass.row_keys_T.slice(0, 0, 3));
}

TEST(Pass, KeysDifferBySeedStepSampleAndPosition) {
  const std::vector<Document> documents = test::documents_of({6, 6}, 50);
  const Batch batch = batch_of(documents);
  const Tensor keys = training_pass(batch, 42, 7).row_keys_T;
  std::vector<Tensor> all{keys, training_pass(batch, 43, 7).row_keys_T, training_pass(batch, 42, 8).row_keys_T};
  const Tensor together = at::cat(all);
  EXPECT_EQ(std::get<0>(at::_unique(together)).numel(), together.numel());  // all keys differ
}

TEST(TrainingPass, DocumentsOfOneExampleHaveTheirOwnRandomNumbers) {
  const std::vector<int32_t> ids{1, 2, 3};
  const Batch pair = make_token_batch({{&ids, nullptr, 4}, {.ids = &ids, .labels = nullptr, .sample_id = 4, .number = 1}});
  EXPECT_EQ(pair.layout.numbers, (std::vector<int64_t>{0, 1}));
  const Tensor keys_T = training_pass(pair, /*seed=*/1, /*step=*/2).row_keys_T;
  const Tensor alone_T = training_pass(make_token_batch({{&ids, nullptr, 4}}), /*seed=*/1, /*step=*/2).row_keys_T;
  expect_equal(keys_T.slice(0, 0, 3), alone_T);
  for (int64_t i = 0; i < 3; ++i) {
    EXPECT_FALSE(keys_T.slice(0, 0, 3).eq(keys_T[3 + i]).any().item<bool>()) << i;
  }
}

}  // namespace
}  // namespace lora::nn
