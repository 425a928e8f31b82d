#include "lora/base/heap.h"

#include <gtest/gtest.h>

#include <vector>

namespace lora {
namespace {

constexpr int64_t kMiB = int64_t{1} << 20;

TEST(HeapGoal, FreedPagesGoBackBeyondIt) {
#if !defined(__GLIBC__) || defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "another allocator";
#endif
  keep_freed_memory();
  const int64_t before = resident_bytes();
  ASSERT_GT(before, 0);
  const auto work = [] { EXPECT_EQ(std::vector<char>(64 * kMiB, 'x').back(), 'x'); };
  work();
  EXPECT_GT(resident_bytes(), before + 60 * kMiB) << "freed memory is kept";
  HeapGoal(0).check();
  HeapGoal(before + 128 * kMiB).check();
  EXPECT_GT(resident_bytes(), before + 60 * kMiB) << "no goal, or one that is kept";

  HeapGoal goal(before + 8 * kMiB);
  goal.check();
  EXPECT_LT(resident_bytes(), before + 8 * kMiB);
  EXPECT_EQ(goal.bytes(), before + 8 * kMiB);
  work();
  goal.check();
  EXPECT_GT(goal.bytes(), before + 60 * kMiB) << "one piece of work alone needs as much";
  const int64_t raised = goal.bytes();
  work();
  goal.check();
  EXPECT_GE(goal.bytes(), raised);
  EXPECT_GT(resident_bytes(), before + 60 * kMiB);
}

}  // namespace
}  // namespace lora
