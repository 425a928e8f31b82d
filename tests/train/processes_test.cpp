// What processes that train together agree about and add up; here they are threads.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "lora/train/agreement.h"
#include "support/tensors.h"
#include "support/thread_group.h"
#include "train/gradients.h"

namespace lora::train {
namespace {

TEST(Agreement, WhatIsSoInOneProcessIsSoInAll) {
  std::vector<char> first(3), last(3), none(3);
  test::ThreadGroup(3).run([&](comm::Communicator& communicator) {
    const Agreement agreement(communicator);
    const auto rank = static_cast<size_t>(communicator.rank());
    first[rank] = agreement.any(rank == 0);
    last[rank] = agreement.any(rank == 2);
    none[rank] = agreement.any(false);
  });
  EXPECT_EQ(first, (std::vector<char>{1, 1, 1}));
  EXPECT_EQ(last, (std::vector<char>{1, 1, 1}));
  EXPECT_EQ(none, (std::vector<char>{0, 0, 0}));
}

TEST(Agreement, ASingleProcessAgreesWithItself) {
  const auto alone = comm::make_single_process();
  const Agreement agreement(*alone);
  EXPECT_TRUE(agreement.any(true));
  EXPECT_FALSE(agreement.any(false));
  EXPECT_EQ(agreement.interrupt_signal(), 0);
}

/// Parameters with these gradients; 0: none.
std::vector<nn::Parameter> parameters_with(const std::vector<double>& gradients) {
  std::vector<nn::Parameter> parameters;
  for (const double gradient : gradients) {
    parameters.push_back({"w" + std::to_string(parameters.size()), at::zeros({2}).requires_grad_(true)});
    if (gradient != 0) {
      parameters.back().tensor.mutable_grad() = at::full({2}, gradient);
    }
  }
  return parameters;
}

TEST(Gradients, AreSummedOverProcesses) {
  std::vector<std::vector<nn::Parameter>> all{parameters_with({1, 2, 0, 0}), parameters_with({4, 0, 8, 0})};
  test::ThreadGroup(2).run([&](comm::Communicator& communicator) { sum_gradients(all[static_cast<size_t>(communicator.rank())], communicator); });
  for (const std::vector<nn::Parameter>& parameters : all) {
    test::expect_equal(parameters[0].tensor.grad(), at::full({2}, 5.0));
    test::expect_equal(parameters[1].tensor.grad(), at::full({2}, 2.0));
    test::expect_equal(parameters[2].tensor.grad(), at::full({2}, 8.0));
    EXPECT_FALSE(parameters[3].tensor.grad().defined()) << "without a gradient anywhere";
  }
}

TEST(Gradients, OfASingleProcessAreUntouched) {
  const std::vector<nn::Parameter> parameters = parameters_with({3, 0});
  const void* const data = parameters[0].tensor.grad().const_data_ptr();
  sum_gradients(parameters, *comm::make_single_process());
  EXPECT_EQ(parameters[0].tensor.grad().const_data_ptr(), data);
  EXPECT_FALSE(parameters[1].tensor.grad().defined());
}

}  // namespace
}  // namespace lora::train
