#include "lora/comm/communicator.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <vector>

namespace lora::comm {
namespace {

TEST(SingleProcess, IsRankZeroOfOneAndSumsToItself) {
  const std::unique_ptr<Communicator> alone = make_single_process();
  EXPECT_EQ(alone->rank(), 0);
  EXPECT_EQ(alone->size(), 1);
  std::array<double, 3> values{1.5, -2.0, std::numeric_limits<double>::infinity()};
  alone->all_reduce_sum(values);
  EXPECT_EQ(values, (std::array<double, 3>{1.5, -2.0, std::numeric_limits<double>::infinity()}));
  alone->all_reduce_sum(std::span<double>());
}

TEST(SingleProcess, SumsTensorsToThemselvesWithoutACopy) {
  const std::unique_ptr<Communicator> alone = make_single_process();
  const std::vector<at::Tensor> tensors{at::full({2}, 1.5), at::full({}, -2.0)};
  const void* const data = tensors[0].const_data_ptr();
  alone->all_reduce_sum(tensors);
  EXPECT_EQ(tensors[0].const_data_ptr(), data);
  EXPECT_TRUE(at::equal(tensors[0], at::full({2}, 1.5)));
  EXPECT_TRUE(at::equal(tensors[1], at::full({}, -2.0)));
  EXPECT_TRUE(alone->is_first());
}

}  // namespace
}  // namespace lora::comm
