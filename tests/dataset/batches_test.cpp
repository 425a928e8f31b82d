// The plan of an epoch and the batches built from it.
#include "lora/data/batches.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "lora/base/random.h"
#include "support/cpu_time.h"
#include "support/expect_error.h"

namespace lora::data {
namespace {

using testing::ElementsAre;
using Plan = std::vector<std::vector<int64_t>>;

Dataset dataset_of(const std::vector<int64_t>& lengths) {
  Dataset dataset;
  for (const int64_t length : lengths) {
    const std::vector<int32_t> ids(length, static_cast<int32_t>(dataset.examples.size()));
    dataset.examples.emplace_back(ids, ids);
  }
  return dataset;
}

std::vector<int64_t> flat(const Plan& plan) {
  std::vector<int64_t> all;
  for (const auto& batch : plan) {
    all.insert(all.end(), batch.begin(), batch.end());
  }
  return all;
}

std::vector<int64_t> sorted(std::vector<int64_t> values) {
  std::sort(values.begin(), values.end());
  return values;
}

int64_t tokens_of(const Dataset& dataset, const std::vector<int64_t>& batch) {
  int64_t tokens = 0;
  for (const int64_t index : batch) {
    tokens += static_cast<int64_t>(dataset.examples[index].ids().size());
  }
  return tokens;
}

TEST(PlanEpoch, FileOrderWithoutShuffle) {
  const BatchOptions options{.batch_size = 2, .shuffle = false};
  EXPECT_THAT(plan_epoch(dataset_of({3, 4, 5, 6, 7}), options, 3), ElementsAre(ElementsAre(0, 1), ElementsAre(2, 3), ElementsAre(4)));
  EXPECT_THAT(plan_epoch(Dataset(), options, 0), ElementsAre());
  test::expect_error(ErrorKind::kConfig, {"batch size", "found 0"}, [] { plan_epoch(dataset_of({3}), {.batch_size = 0}, 0); });
}

TEST(PlanEpoch, IsAFunctionOfSeedAndEpoch) {
  const Dataset dataset = dataset_of(std::vector<int64_t>(100, 7));
  std::vector<int64_t> all(100);
  std::iota(all.begin(), all.end(), 0);
  for (const bool packing : {false, true}) {
    BatchOptions options{.batch_size = 8, .packing = packing, .max_length = 16, .seed = 5};
    const Plan plan = plan_epoch(dataset, options, 2);
    EXPECT_EQ(plan, plan_epoch(dataset, options, 2));
    EXPECT_NE(plan, plan_epoch(dataset, options, 3));
    EXPECT_EQ(sorted(flat(plan)), all);
    EXPECT_EQ(plan.size(), packing ? 7U : 13U);
    options.seed = 6;
    EXPECT_NE(plan, plan_epoch(dataset, options, 2));
  }
}

TEST(PlanEpoch, BestFitDecreasingByHand) {
  const BatchOptions options{.batch_size = 1, .packing = true, .max_length = 10, .shuffle = false};
  // 8, 7, 5, 3, 2, 2: bins 8+2, 7+3, 5+2; the first 2 goes to the fullest bin with space.
  EXPECT_THAT(plan_epoch(dataset_of({2, 5, 3, 8, 2, 7}), options, 0), ElementsAre(ElementsAre(3, 0), ElementsAre(5, 2), ElementsAre(1, 4)));
  // Of equally full bins, the oldest.
  EXPECT_THAT(plan_epoch(dataset_of({6, 6, 4, 4}), options, 0), ElementsAre(ElementsAre(0, 2), ElementsAre(1, 3)));
  EXPECT_THAT(plan_epoch(dataset_of({10, 10}), options, 0), ElementsAre(ElementsAre(0), ElementsAre(1)));
  test::expect_error(ErrorKind::kConfig, {"data.max_length", "11 tokens"}, [&] { plan_epoch(dataset_of({11}), options, 0); });
}

TEST(PlanEpoch, PackedBinsNeverOverflowAndHoldEveryDocumentOnce) {
  CounterRandom random(11);
  std::vector<int64_t> lengths;
  for (int i = 0; i < 50'000; ++i) {
    lengths.push_back(2 + static_cast<int64_t>(random.below(i % 10 == 0 ? 511 : 100)));
  }
  const Dataset dataset = dataset_of(lengths);
  const BatchOptions options{.batch_size = 1, .packing = true, .max_length = 512};
  const test::CpuTime taken;
  const Plan plan = plan_epoch(dataset, options, 0);
  EXPECT_LT(taken.seconds(), 5);
  int64_t total = 0;
  for (const auto& bin : plan) {
    EXPECT_LE(tokens_of(dataset, bin), 512);
    total += tokens_of(dataset, bin);
  }
  std::vector<int64_t> all(lengths.size());
  std::iota(all.begin(), all.end(), 0);
  EXPECT_EQ(sorted(flat(plan)), all);
  EXPECT_LE(plan.size(), static_cast<size_t>(1.01 * static_cast<double>(total) / 512) + 1) << "bins are badly filled";
}

TEST(PlanEpoch, TokenBudget) {
  BatchOptions options{.batch_size = 1, .shuffle = false, .tokens_per_batch = 10};
  EXPECT_THAT(plan_epoch(dataset_of({4, 6, 1, 25, 10, 3, 7, 1}), options, 0),
              ElementsAre(ElementsAre(0, 1), ElementsAre(2), ElementsAre(3), ElementsAre(4), ElementsAre(5, 6), ElementsAre(7)));
  EXPECT_THAT(plan_epoch(dataset_of({25}), options, 0), ElementsAre(ElementsAre(0)));
  // The bins computed above: 8+2, 7+3, 5+2.
  options = {.packing = true, .max_length = 10, .shuffle = false, .tokens_per_batch = 20};
  EXPECT_THAT(plan_epoch(dataset_of({2, 5, 3, 8, 2, 7}), options, 0), ElementsAre(ElementsAre(3, 0, 5, 2), ElementsAre(1, 4)));

  std::vector<int64_t> lengths, all(300);
  std::iota(all.begin(), all.end(), 0);
  for (int64_t i = 0; i < 300; ++i) {
    lengths.push_back(2 + i * i % 60);
  }
  const Dataset dataset = dataset_of(lengths);
  for (const bool packing : {false, true}) {
    options = {.packing = packing, .max_length = 64, .seed = 3, .tokens_per_batch = 200};
    const Plan plan = plan_epoch(dataset, options, 1);
    EXPECT_EQ(plan, plan_epoch(dataset, options, 1));
    EXPECT_NE(plan, plan_epoch(dataset, options, 2));
    EXPECT_EQ(sorted(flat(plan)), all);
    for (const auto& batch : plan) {
      EXPECT_LE(tokens_of(dataset, batch), 200);
    }
    EXPECT_LE(plan.size(), static_cast<size_t>(dataset.num_tokens() / 130));
  }
}

TEST(SpreadByTokens, LongestFirstToTheShortestGroup) {
  //                                  0  1  2   3  4  5
  const Dataset dataset = dataset_of({3, 9, 4, 25, 5, 2});
  EXPECT_THAT(spread_by_tokens(dataset, {0, 1, 2, 3, 4, 5}, 12, 1), ElementsAre(ElementsAre(0, 1), ElementsAre(2, 4, 5), ElementsAre(3)));
  EXPECT_THAT(spread_by_tokens(dataset, {5, 4, 2, 1, 0}, 30, 2), ElementsAre(ElementsAre(5, 4, 2), ElementsAre(1, 0))) << "their order";
  EXPECT_THAT(spread_by_tokens(dataset, {0, 1, 2}, 30, 1), ElementsAre(ElementsAre(0, 1, 2)));
  EXPECT_THAT(spread_by_tokens(dataset, {0, 1}, 30, 4), ElementsAre(ElementsAre(0), ElementsAre(1))) << "no group is empty";
  EXPECT_THAT(spread_by_tokens(dataset, {3}, 12, 2), ElementsAre(ElementsAre(3)));
  EXPECT_THAT(spread_by_tokens(dataset, {}, 12, 2), ElementsAre());
}

TEST(SpreadByTokens, HoldsEveryExampleOnceAndKeepsTheBudget) {
  CounterRandom random(5);
  for (int round = 0; round < 50; ++round) {
    std::vector<int64_t> lengths, all;
    for (int64_t i = 0; i < 40; ++i) {
      lengths.push_back(1 + static_cast<int64_t>(random.below(60)));
      all.push_back(i);
    }
    const Plan groups = spread_by_tokens(dataset_of(lengths), all, 50, 2);
    EXPECT_EQ(sorted(flat(groups)), all);
    for (const auto& group : groups) {
      const int64_t sum = std::accumulate(group.begin(), group.end(), int64_t{0}, [&](int64_t n, int64_t i) { return n + lengths[i]; });
      EXPECT_TRUE(sum <= 50 || group.size() == 1) << sum;
    }
  }
}

TEST(PlanEpoch, Weights) {
  Dataset dataset = dataset_of(std::vector<int64_t>(1000, 4));
  for (size_t i = 0; i < 1000; ++i) {
    dataset.examples[i].weight = i < 500 ? 0.5 : 2.0;
  }
  const BatchOptions options{.batch_size = 8};
  std::vector<int64_t> light_once;
  int64_t light_total = 0;
  for (int64_t epoch = 0; epoch < 20; ++epoch) {
    std::vector<int64_t> count(1000, 0);
    for (const int64_t index : flat(plan_epoch(dataset, options, epoch))) {
      ++count[index];
    }
    EXPECT_TRUE(std::all_of(count.begin() + 500, count.end(), [](int64_t uses) { return uses == 2; }));
    EXPECT_TRUE(std::all_of(count.begin(), count.begin() + 500, [](int64_t uses) { return uses <= 1; }));
    const int64_t light = std::accumulate(count.begin(), count.begin() + 500, int64_t{0});
    EXPECT_NEAR(static_cast<double>(light), 250, 60);
    light_total += light;
    light_once.push_back(count[0]);
  }
  EXPECT_NEAR(static_cast<double>(light_total) / 20, 250, 20);
  EXPECT_THAT(light_once, testing::AllOf(testing::Contains(0), testing::Contains(1))) << "the same examples in every epoch";
  dataset.examples.resize(3);
  for (Example& example : dataset.examples) {
    example.weight = 1e-6;
  }
  EXPECT_EQ(flat(plan_epoch(dataset, options, 0)).size(), 1U) << "an epoch is never empty";
}

TEST(MakeBatch, PacksDocumentsEndToEnd) {
  Dataset dataset = dataset_of({2, 3, 4});
  dataset.examples[1] = Example({7, 8, 9}, {-100, -100, 9});
  const nn::Batch batch = make_batch(dataset, {1, 0});
  EXPECT_TRUE(at::equal(batch.tokens().ids_T, at::tensor({7, 8, 9, 0, 0}, at::kLong)));
  EXPECT_TRUE(at::equal(batch.labels().labels_T, at::tensor({-100, 9, -100, 0, -100}, at::kLong)));
  EXPECT_TRUE(at::equal(batch.layout.positions_T, at::tensor({0, 1, 2, 0, 1}, at::kLong)));
  EXPECT_TRUE(at::equal(batch.layout.offsets, at::tensor({0, 3, 5}, at::kInt)));
  EXPECT_THAT(batch.layout.sample_ids, ElementsAre(1, 0));
  EXPECT_EQ(batch.num_supervised(), dataset.examples[0].num_supervised() + dataset.examples[1].num_supervised());
}

}  // namespace
}  // namespace lora::data
