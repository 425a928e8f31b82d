#include "lora/comm/communicator.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "support/expect_error.h"

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

/// One of two processes, whose backend fails.
class Broken : public Communicator {
 public:
  int rank() const override { return 1; }
  int size() const override { return 2; }

 private:
  void sum(std::span<double> /*values*/) override { TORCH_CHECK(false, "connection closed by peer"); }
  void sum(std::span<const at::Tensor> /*tensors*/) override {
    throw c10::OutOfMemoryError({__func__, __FILE__, __LINE__}, "the device is full");
  }
};

TEST(Communicator, AFailedExchangeNamesTheProcess) {
  Broken broken;
  std::array<double, 1> values{1};
  test::expect_error(ErrorKind::kUnforeseen, {"process 1 of 2", "cannot exchange", "connection closed by peer"},
                     [&] { broken.all_reduce_sum(values); });
  EXPECT_THROW(broken.all_reduce_sum(std::vector<at::Tensor>{at::zeros({1})}), c10::OutOfMemoryError) << "smaller parts may help";
}

}  // namespace
}  // namespace lora::comm
