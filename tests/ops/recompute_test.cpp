#include "lora/ops/recompute.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "support/gradients.h"
#include "support/tensors.h"

namespace lora::ops {
namespace {

using test::expect_equal;
using test::normal;
using test::trained;

TEST(Recompute, ValueAndGradientsAreThoseOfTheFunctionItself) {
  for (const auto& [x_needs_grad, on_host] :
       std::vector<std::pair<bool, bool>>{{true, false}, {false, false}, {true, true}, {false, true}}) {
    const Tensor w = trained(normal({4, 4}, 2)), w2 = trained(w);
    const Tensor x = normal({3, 4}, 1).requires_grad_(x_needs_grad), x2 = x.detach().clone().requires_grad_(x_needs_grad);
    const std::shared_ptr<HostStore> store = on_host ? std::make_shared<HostStore>() : nullptr;
    int calls = 0;
    const auto f = [&calls](const Tensor& in, const Tensor& weight) {
      ++calls;
      return in.mm(weight).tanh();
    };
    // Twice, one after the other, like layers.
    const auto again = [&](const Tensor& in) { return recompute([&f, &w](const Tensor& t) { return f(t, w); }, in, store); };
    const Tensor y = again(again(x));
    EXPECT_EQ(calls, 2);
    y.sum().backward();
    EXPECT_EQ(calls, 4);
    const Tensor y2 = f(f(x2, w2), w2);
    y2.sum().backward();
    expect_equal(y.detach(), y2.detach());
    expect_equal(w.grad(), w2.grad());
    EXPECT_EQ(x.grad().defined(), x_needs_grad);
    if (x_needs_grad) {
      expect_equal(x.grad(), x2.grad());
    }
  }
}

TEST(Recompute, IsCalledOnceWhereNothingIsTrained) {
  int calls = 0;
  const auto f = [&calls](const Tensor& t) {
    ++calls;
    return t * 2;
  };
  {
    const at::NoGradGuard no_grad;
    EXPECT_FALSE(recompute(f, at::ones({2})).requires_grad());
  }
  EXPECT_EQ(calls, 1);
  recompute(f, at::ones({2})).sum().backward();  // nothing inside has a gradient: no error
  EXPECT_EQ(calls, 3);
}

}  // namespace
}  // namespace lora::ops
