#include "lora/comm/communicator.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>

namespace lora::comm {
namespace {

TEST(SingleProcess, IsRankZeroOfOneAndSumsToItself) {
  const std::unique_ptr<Communicator> alone = make_single_process();
  EXPECT_EQ(alone->rank(), 0);
  EXPECT_EQ(alone->size(), 1);
  std::array<double, 3> values{1.5, -2.0, std::numeric_limits<double>::infinity()};
  alone->all_reduce_sum(values);
  EXPECT_EQ(values, (std::array<double, 3>{1.5, -2.0, std::numeric_limits<double>::infinity()}));
  alone->all_reduce_sum({});
}

}  // namespace
}  // namespace lora::comm
