#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "lora/optim/optimizer.h"

namespace lora::optim {
namespace {

using at::Tensor;

/// A parameter with this gradient; none where it is undefined.
nn::Parameter with_gradient(const std::string& name, const Tensor& gradient, at::ScalarType dtype = at::kFloat) {
  Tensor tensor = at::zeros({2}, dtype).set_requires_grad(true);
  tensor.mutable_grad() = gradient;
  return {name, tensor};
}

TEST(ClipGradNorm, ScalesAllGradientsByOneFactor) {
  const std::vector<nn::Parameter> parameters{with_gradient("a", at::tensor({3.0F, 0.0F})), with_gradient("b", at::tensor({0.0F, 4.0F})),
                                              with_gradient("frozen", {})};
  EXPECT_DOUBLE_EQ(clip_grad_norm(parameters, 1.0), 5.0);
  EXPECT_NEAR(parameters[0].tensor.grad()[0].item<double>(), 3.0 / 5.000001, 1e-7);
  EXPECT_NEAR(parameters[1].tensor.grad()[1].item<double>(), 4.0 / 5.000001, 1e-7);
  EXPECT_FALSE(parameters[2].tensor.grad().defined());
}

TEST(ClipGradNorm, LeavesGradientsWhereThereIsNothingToClip) {
  const std::vector<nn::Parameter> parameters{with_gradient("a", at::tensor({3.0F, 4.0F}))};
  for (const double max_norm : {0.0, 5.1, std::numeric_limits<double>::infinity()}) {
    EXPECT_DOUBLE_EQ(clip_grad_norm(parameters, max_norm), 5.0);
    EXPECT_TRUE(at::equal(parameters[0].tensor.grad(), at::tensor({3.0F, 4.0F})));
  }
  EXPECT_EQ(clip_grad_norm({with_gradient("a", {})}, 1.0), 0.0);
  EXPECT_EQ(clip_grad_norm({}, 1.0), 0.0);
}

TEST(ClipGradNorm, ReportsNormsThatAreNoNumbers) {
  const float infinity = std::numeric_limits<float>::infinity();
  for (const double max_norm : {0.0, 1.0}) {
    EXPECT_TRUE(std::isnan(clip_grad_norm({with_gradient("a", at::tensor({1.0F, std::nanf("")}))}, max_norm)));
    EXPECT_EQ(clip_grad_norm({with_gradient("a", at::tensor({1.0F, -infinity}))}, max_norm), infinity);
  }
}

TEST(ClipGradNorm, MixesDtypesAndDoesNotOverflowInHalf) {
  const std::vector<nn::Parameter> parameters{with_gradient("a", at::tensor({60000.0F, 60000.0F}).to(at::kHalf), at::kHalf),
                                              with_gradient("b", at::tensor({1.0F, 2.0F}).to(at::kBFloat16), at::kBFloat16),
                                              with_gradient("c", at::tensor({1.0F, 2.0F}))};
  const double first = at::tensor({60000.0F}).to(at::kHalf).item<double>();
  const double norm = clip_grad_norm(parameters, 1.0);
  EXPECT_NEAR(norm, std::sqrt(2 * first * first + 10), norm * 1e-6);
  EXPECT_NEAR(parameters[0].tensor.grad()[0].item<double>(), first / norm, 1e-3);
  EXPECT_EQ(parameters[0].tensor.grad().scalar_type(), at::kHalf);
}

}  // namespace
}  // namespace lora::optim
