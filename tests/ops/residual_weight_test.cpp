#include "lora/ops/residual_weight.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "lora/ops/lora_linear.h"
#include "lora/ops/packed_weight.h"
#include "support/gradients.h"
#include "support/packed_numbers.h"
#include "support/tensors.h"

namespace lora::ops {
namespace {

using test::expect_close;
using test::normal;

constexpr int64_t kResidualOutputs = 33, kResidualInputs = 100, kResidualRank = 3;
constexpr double kResidualScale = 1.5;

ResidualWeight residual(at::ScalarType dtype) {
  const auto numbers = std::make_shared<const test::PackedNumbers>(kResidualOutputs, kResidualInputs);
  const auto whole = std::make_shared<const PackedWeight>(numbers, dtype);
  return {whole, normal({kResidualRank, kResidualInputs}, 5, at::kFloat), normal({kResidualOutputs, kResidualRank}, 6, at::kFloat), kResidualScale};
}

/// W - scale · B A in double precision, before it is rounded to the dtype.
Tensor values(at::ScalarType dtype) {
  const PackedWeight whole(std::make_shared<const test::PackedNumbers>(kResidualOutputs, kResidualInputs), dtype);
  const Tensor A_RI = normal({kResidualRank, kResidualInputs}, 5, at::kFloat), B_OR = normal({kResidualOutputs, kResidualRank}, 6, at::kFloat);
  return whole.dequantised().to(at::kDouble) - kResidualScale * B_OR.to(at::kDouble).mm(A_RI.to(at::kDouble));
}

TEST(ResidualWeight, MultipliesAsItsValuesDo) {
  for (const auto& [dtype, tolerance] : {std::pair<at::ScalarType, double>{at::kFloat, 2e-6}, {at::kBFloat16, 1.0 / 64}}) {
    const ResidualWeight weight = residual(dtype);
    const Tensor W = values(dtype);
    EXPECT_EQ(weight.bytes(), kResidualOutputs * kResidualInputs + 4 * kResidualRank * (kResidualOutputs + kResidualInputs));
    expect_close(weight.dequantised(), W, tolerance);
    expect_close(weight.rows(5, 20), W.slice(0, 5, 20), tolerance);
    expect_close(weight.row_norms(at::kDouble), W.norm(2, {1}), 1e-5);
    for (const int64_t tokens : {1, 20}) {
      const Tensor x = normal({tokens, kResidualInputs}, 1, dtype), b = normal({kResidualOutputs}, 2, dtype), dy = normal({tokens, kResidualOutputs}, 3, dtype);
      expect_close(weight.multiply(x, std::nullopt), x.to(at::kDouble).mm(W.t()), tolerance);
      expect_close(weight.multiply(x, b), x.to(at::kDouble).mm(W.t()) + b, tolerance);
      const Tensor dx = weight.multiply_transposed(dy), product = dy.to(at::kDouble).mm(W);
      expect_close(dx, product, tolerance);
      // Added to columns of a larger tensor.
      const Tensor all = at::cat({dx, dx, dx}, 1), sum = all.narrow(1, kResidualInputs, kResidualInputs);
      EXPECT_TRUE(weight.multiply_transposed(dy, sum).is_same(sum));
      expect_close(sum, product + dx, tolerance);
      test::expect_equal(all.narrow(1, 2 * kResidualInputs, kResidualInputs), dx);
    }
  }
}

TEST(ResidualWeight, IsDifferentiatedByProjections) {
  const auto weight = std::make_shared<const ResidualWeight>(residual(at::kFloat));
  const Tensor x = normal({7, kResidualInputs}, 1, at::kFloat), dy = normal({7, kResidualOutputs}, 2, at::kFloat);
  const Tensor input = x.clone().requires_grad_(true);
  project(input, {{weight}}).front().backward(dy);
  expect_close(input.grad(), dy.to(at::kDouble).mm(values(at::kFloat)), 2e-6);
}

}  // namespace
}  // namespace lora::ops
