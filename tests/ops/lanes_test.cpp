#include "lora/ops/lanes.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#include "support/single_thread.h"

namespace lora::ops {
namespace {

using test::Threads;

TEST(Lanes, RunEachItemOnceSideBySideAndShareTheThreads) {
  const Threads threads(5);
  Lanes lanes(2);
  for (int round = 0; round < 3; ++round) {
    std::vector<std::atomic<int>> runs(20);
    std::mutex mutex;
    std::condition_variable both;
    std::map<std::thread::id, int> seen;
    lanes.run(20, [&](int64_t item) {
      ++runs[static_cast<size_t>(item)];
      std::unique_lock lock(mutex);
      seen[std::this_thread::get_id()] = at::get_num_threads();
      both.notify_all();
      both.wait(lock, [&seen] { return seen.size() == 2; });  // each waits here until the other lane has arrived
    });
    for (const std::atomic<int>& count : runs) {
      EXPECT_EQ(count, 1);
    }
    std::multiset<int> shares;
    for (const auto& [thread, share] : seen) {
      shares.insert(share);
    }
    EXPECT_EQ(shares, (std::multiset<int>{2, 2}));
    EXPECT_EQ(seen.count(std::this_thread::get_id()), 1U);
    EXPECT_EQ(at::get_num_threads(), 5);
  }
  int later = 0;
  std::thread([&later] { later = at::get_num_threads(); }).join();
  EXPECT_EQ(later, 5);
}

TEST(Lanes, OneItemHasAllThreads) {
  const Threads threads(3);
  Lanes lanes(2);
  lanes.run(1, [](int64_t) { EXPECT_EQ(at::get_num_threads(), 3); });
}

TEST(Lanes, AreNoMoreThanThereAreThreads) {
  const Threads threads(1);
  Lanes lanes(2);
  std::vector<int64_t> items;
  lanes.run(4, [&](int64_t item) { items.push_back(item); });
  EXPECT_EQ(items, (std::vector<int64_t>{0, 1, 2, 3}));
}

TEST(Lanes, ThrowTheFirstErrorAndGoOnAfterIt) {
  const Threads threads(2);
  Lanes lanes(2);
  std::atomic<int> begun = 0;
  const auto fail = [&](int64_t item) {
    ++begun;
    if (item >= 3) {
      throw std::runtime_error("item " + std::to_string(item));
    }
  };
  for (int round = 0; round < 20; ++round) {
    begun = 0;
    try {
      lanes.run(1000, fail);
      FAIL();
    } catch (const std::runtime_error& error) {
      EXPECT_STREQ(error.what(), "item 3");
    }
    EXPECT_LE(begun, 6);
  }
  std::atomic<int> sum = 0;
  lanes.run(10, [&sum](int64_t item) { sum += static_cast<int>(item); });
  EXPECT_EQ(sum, 45);
}

}  // namespace
}  // namespace lora::ops
