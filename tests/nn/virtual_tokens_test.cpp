// Virtual tokens before each document: where they lie, what they predict, and their random numbers.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "lora/nn/batch.h"
#include "lora/nn/pass.h"
#include "support/tensors.h"

namespace lora::nn {
namespace {

using test::expect_equal;

Tensor ids_of(const std::vector<int64_t>& values) {
  return at::tensor(values, at::kLong);
}

/// Two documents; the first token of the second one has a label.
Batch two_documents(int64_t second_segment = 0) {
  static const std::vector<int32_t> kIds0{5, 6, 7}, kLabels0{-100, 6, 7}, kIds1{8, 9}, kLabels1{8, -100};
  return make_token_batch({{&kIds0, &kLabels0, 4, 0, second_segment}, {&kIds1, &kLabels1, 2}});
}

TEST(VirtualTokens, AreTokensOfTheirDocument) {
  const Batch batch = with_virtual_tokens(two_documents(/*second_segment=*/2), 2);
  expect_equal(batch.tokens().ids_T, ids_of({-1, -2, 5, 6, 7, -1, -2, 8, 9}));
  expect_equal(batch.layout.positions_T, ids_of({0, 1, 2, 3, 4, 0, 1, 2, 3}));
  expect_equal(*batch.tokens().segments_T, ids_of({0, 0, 0, 0, 1, 0, 0, 0, 0}));
  EXPECT_EQ(batch.layout.host_offsets, (std::vector<int64_t>{0, 5, 9}));
  expect_equal(batch.layout.offsets, at::tensor(std::vector<int32_t>{0, 5, 9}, at::kInt));
  EXPECT_EQ(batch.layout.max_document, 5);
  EXPECT_EQ(batch.layout.sample_ids, (std::vector<int64_t>{4, 2}));
}

TEST(VirtualTokens, TheLastOnePredictsTheFirstToken) {
  const Batch batch = with_virtual_tokens(two_documents(), 2);
  expect_equal(batch.labels().labels_T, ids_of({-100, -100, 6, 7, -100, -100, 8, -100, -100}));
  expect_equal(batch.labels().supervised_S, ids_of({2, 3, 6}));
}

TEST(VirtualTokens, NoneLeaveTheBatchAsItIs) {
  const Batch batch = two_documents();
  EXPECT_TRUE(with_virtual_tokens(batch, 0).tokens().ids_T.is_same(batch.tokens().ids_T));
  expect_equal(batch.labels().supervised_S, ids_of({0, 1}));
  const Pass pass = evaluation_pass(batch);
  EXPECT_EQ(&pass.with_virtual_tokens(0).batch(), &pass.batch());
}

TEST(VirtualTokens, NeedWholeDocuments) {
  const std::vector<int32_t> ids{5, 6};
  EXPECT_THROW(with_virtual_tokens(make_token_batch({{&ids, nullptr, 0, /*cached_length=*/3}}), 2), c10::Error);
}

TEST(VirtualTokens, HaveRandomNumbersOfTheirOwn) {
  const Pass pass = training_pass(two_documents(), 1, 0);
  const Tensor keys_T = pass.with_virtual_tokens(2).row_keys_T;
  expect_equal(keys_T.index_select(0, ids_of({2, 3, 4, 7, 8})), pass.row_keys_T);
  std::vector<int64_t> keys(keys_T.const_data_ptr<int64_t>(), keys_T.const_data_ptr<int64_t>() + keys_T.numel());
  std::sort(keys.begin(), keys.end());
  EXPECT_EQ(std::adjacent_find(keys.begin(), keys.end()), keys.end());
  // A document alone has the same ones.
  const std::vector<int32_t> ids{8, 9};
  expect_equal(training_pass(make_token_batch({{&ids, nullptr, 2}}), 1, 0).with_virtual_tokens(2).row_keys_T, keys_T.slice(0, 5));
}

}  // namespace
}  // namespace lora::nn
