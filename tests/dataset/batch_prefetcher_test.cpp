#include "lora/data/batch_prefetcher.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <stdexcept>

#include "lora/data/batches.h"

namespace lora::data {
namespace {

Dataset some_documents() {
  Dataset dataset;
  for (int32_t i = 0; i < 8; ++i) {
    const std::vector<int32_t> ids(static_cast<size_t>(i + 2), i);
    dataset.examples.emplace_back(ids, ids);
  }
  return dataset;
}

void expect_batch(const nn::Batch& batch, const Dataset& dataset, const std::vector<int64_t>& indices) {
  const nn::Batch expected = make_batch(dataset, indices);
  EXPECT_EQ(batch.layout.sample_ids, expected.layout.sample_ids);
  EXPECT_EQ(batch.layout.host_offsets, expected.layout.host_offsets);
  EXPECT_TRUE(at::equal(batch.tokens().ids_T, expected.tokens().ids_T));
  EXPECT_TRUE(at::equal(batch.labels().labels_T, expected.labels().labels_T));
  EXPECT_TRUE(at::equal(batch.layout.positions_T, expected.layout.positions_T));
  EXPECT_TRUE(at::equal(batch.layout.offsets, expected.layout.offsets));
}

TEST(BatchPrefetcher, ReturnsEachBatchWhateverWasExpected) {
  const Dataset dataset = some_documents();
  for (const bool ahead : {true, false}) {
    BatchPrefetcher batches(dataset, at::kCPU, ahead);
    expect_batch(batches.take({5}), dataset, {5});  // no batch was expected
    batches.expect({{0, 1}, {2}, {3, 4}});
    expect_batch(batches.take({0, 1}), dataset, {0, 1});
    expect_batch(batches.take({2}), dataset, {2});
    batches.expect({{3, 4}, {2}});  // the first of them is being built
    expect_batch(batches.take({3, 4}), dataset, {3, 4});
    expect_batch(batches.take({7, 0}), dataset, {7, 0});  // out of order
    expect_batch(batches.take({2}), dataset, {2});
    batches.expect({});
    expect_batch(batches.take({1}), dataset, {1});
    batches.expect({{6}});  // never taken
  }
}

TEST(BatchPrefetcher, AnErrorOfTheThreadComesWithItsBatch) {
  const Dataset dataset = some_documents();
  BatchPrefetcher batches(dataset, at::kCPU, true);
  batches.expect({{1}, {99}, {2}});
  expect_batch(batches.take({1}), dataset, {1});
  EXPECT_THROW(batches.take({99}), std::out_of_range);
  expect_batch(batches.take({2}), dataset, {2});
  batches.expect({{99}});  // the error of a batch that is never requested is ignored
}

}  // namespace
}  // namespace lora::data
