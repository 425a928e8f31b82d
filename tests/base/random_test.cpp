#include "lora/base/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>

namespace lora {
namespace {

// The numbers are pinned because any change would alter every run that is resumed.
TEST(Random, NeverChanges) {
  // The first outputs of SplitMix64 for the seeds 0 and 1234567 (the authors' reference code).
  EXPECT_EQ(mix64(0), 0xe220a8397b1dcdafULL);
  EXPECT_EQ(mix64(1234567), 6457827717110365317ULL);
  EXPECT_NE(mix64(1, 2), mix64(2, 1));
  EXPECT_NE(hash_name("model.layers.0"), hash_name("model.layers.1"));
  EXPECT_EQ(hash_name(""), mix64(0xcbf29ce484222325ULL));
  EXPECT_EQ(hash_name("a"), mix64(0xaf63dc4c8601ec8cULL));  // FNV-1a 64 of "a" (the authors' test vectors)
  EXPECT_EQ(hash_name("foobar"), mix64(0x85944171f73967e8ULL));
  CounterRandom random(42);
  EXPECT_EQ(random.next(), mix64(42, 0));
  EXPECT_EQ(random.next(), mix64(42, 1));
  EXPECT_EQ(permutation(10, 42), (std::vector<int64_t>{8, 6, 9, 0, 2, 5, 1, 3, 4, 7}));
}

TEST(Random, IsUniform) {
  CounterRandom random(7);
  std::array<int, 10> counts{};
  double sum = 0;
  for (int i = 0; i < 100'000; ++i) {
    ++counts[random.below(10)];
    const double u = random.uniform();
    ASSERT_TRUE(u >= 0 && u < 1);
    sum += u;
  }
  for (const int count : counts) {
    EXPECT_NEAR(count, 10'000, 500);
  }
  EXPECT_NEAR(sum / 100'000, 0.5, 0.01);
  EXPECT_EQ(random.below(1), 0U);
  EXPECT_EQ(random.below(0), 0U);
  const uint64_t huge = (uint64_t{1} << 63) + 1;  // nearly half of the raw numbers are rejected
  for (int i = 0; i < 100; ++i) {
    EXPECT_LT(random.below(huge), huge);
  }
}

TEST(Permutation, ContainsEachNumberOnce) {
  for (const int64_t count : {0, 1, 2, 3, 1000}) {
    std::vector<int64_t> order = permutation(count, 5);
    EXPECT_EQ(order, permutation(count, 5));
    ASSERT_EQ(static_cast<int64_t>(order.size()), count);
    std::sort(order.begin(), order.end());
    for (int64_t i = 0; i < count; ++i) {
      EXPECT_EQ(order[i], i);
    }
  }
  EXPECT_NE(permutation(1000, 5), permutation(1000, 6));
  // Each of the 6 orders of 3 numbers occurs about equally often.
  std::array<int, 27> counts{};
  for (uint64_t key = 0; key < 6000; ++key) {
    const std::vector<int64_t> order = permutation(3, key);
    ++counts[order[0] * 9 + order[1] * 3 + order[2]];
  }
  for (const int count : counts) {
    EXPECT_TRUE(count == 0 || std::abs(count - 1000) < 150) << count;
  }
}

}  // namespace
}  // namespace lora
