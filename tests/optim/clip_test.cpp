#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "lora/optim/optimizer.h"

namespace lora::optim {
namespace {

using at::Tensor;

/// A parameter with this gradient; without one if it is undefined.
nn::Parameter with_gradient(const std::string& name, const Tensor& gradient, at::ScalarType dtype = at::kFloat) {
  Tensor tensor = at::zeros({2}, dtype).set_requires_grad(true);
  tensor.mutable_grad() = gradient;
  return {name, tensor};
}

TEST(GradNorm, IsOfAllGradientsTogether) {
  EXPECT_DOUBLE_EQ(
      grad_norm({with_gradient("a", at::tensor({3.0F, 0.0F})), with_gradient("b", at::tensor({0.0F, 4.0F})), with_gradient("frozen", {})}),
      5.0);
  EXPECT_EQ(grad_norm({with_gradient("a", {})}), 0.0);
  EXPECT_EQ(grad_norm({}), 0.0);
  EXPECT_DOUBLE_EQ(grad_norm({with_gradient("expanded", at::tensor({2.0F}).expand({2}))}), std::sqrt(8.0));
}

TEST(GradNorm, ReportsNormsThatAreNoNumbers) {
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_TRUE(std::isnan(grad_norm({with_gradient("a", at::tensor({1.0F, std::nanf("")}))})));
  EXPECT_EQ(grad_norm({with_gradient("a", at::tensor({1.0F, -infinity}))}), infinity);
}

TEST(GradNorm, MixesDtypesAndDoesNotOverflowInHalf) {
  const double first = at::tensor({60000.0F}).to(at::kHalf).item<double>();
  const double norm = grad_norm({with_gradient("a", at::tensor({60000.0F, 60000.0F}).to(at::kHalf), at::kHalf),
                                 with_gradient("b", at::tensor({1.0F, 2.0F}).to(at::kBFloat16), at::kBFloat16),
                                 with_gradient("c", at::tensor({1.0F, 2.0F}))});
  EXPECT_NEAR(norm, std::sqrt(2 * first * first + 10), norm * 1e-6);
}

TEST(ClipFactor, IsTorchs) {
  EXPECT_NEAR(clip_factor(5.0, 1.0), 1.0 / 5.000001, 1e-7);
  for (const double max_norm : {0.0, 5.1, std::numeric_limits<double>::infinity()}) {
    EXPECT_EQ(clip_factor(5.0, max_norm), 1.0);
  }
  EXPECT_EQ(clip_factor(0.0, 1.0), 1.0);
  EXPECT_EQ(clip_factor(std::numeric_limits<double>::infinity(), 1.0), 0.0);
  EXPECT_TRUE(std::isnan(clip_factor(std::nan(""), 1.0)));
}

}  // namespace
}  // namespace lora::optim
