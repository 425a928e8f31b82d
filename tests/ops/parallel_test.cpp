#include "lora/ops/parallel.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <set>
#include <thread>

namespace lora::ops {
namespace {

TEST(ParallelFor, CoversTheRangeOnceAndHasThreads) {
  const int threads = at::get_num_threads();
  at::set_num_threads(3);
  std::vector<std::atomic<int>> visits(1000);
  std::set<std::thread::id> seen;
  std::mutex lock;
  parallel_for(0, 1000, 10, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      ++visits[static_cast<size_t>(i)];
    }
    const std::lock_guard guard(lock);
    seen.insert(std::this_thread::get_id());
  });
  for (const std::atomic<int>& count : visits) {
    EXPECT_EQ(count, 1);
  }
  EXPECT_EQ(seen.size(), 3U);
  at::set_num_threads(threads);
  int calls = 0;
  parallel_for(5, 5, 1, [&](int64_t, int64_t) { ++calls; });
  EXPECT_EQ(calls, 0);
}

}  // namespace
}  // namespace lora::ops
