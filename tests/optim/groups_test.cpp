#include "optim/groups.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "support/tensors.h"

namespace lora::optim {
namespace {

TEST(GroupParameters, TiedOnesAreNotMovedByOneKernel) {
  const at::Tensor table = test::trained(at::ones({2, 3}));
  const at::Tensor head = table.detach().t().requires_grad_(true);
  const std::vector<ParameterGroup> groups = group_parameters(
      {{"a", test::trained(at::ones({4}))}, {"table", table}, {"b", test::trained(at::ones({4}))}, {"head", head}}, {}, 0.1);
  ASSERT_EQ(groups.size(), 2U);
  EXPECT_EQ(groups[0].parameters.size(), 3U);
  ASSERT_EQ(groups[1].parameters.size(), 1U);
  EXPECT_EQ(groups[1].parameters[0].name, "head");  // after the one whose memory it shares
}

}  // namespace
}  // namespace lora::optim
