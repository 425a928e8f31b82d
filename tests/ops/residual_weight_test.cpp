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

constexpr int64_t kOutRows = 33, kInColumns = 100, kPairRank = 3;
constexpr double kPairScale = 1.5;

ResidualWeight residual(at::ScalarType dtype) {
  const auto numbers = std::make_shared<const test::PackedNumbers>(kOutRows, kInColumns);
  const auto whole = std::make_shared<const PackedWeight>(numbers, dtype);
  return {whole, normal({kPairRank, kInColumns}, 5, at::kFloat), normal({kOutRows, kPairRank}, 6, at::kFloat), kPairScale};
}

/// W - scale · B A in double precision, before it is rounded to the dtype.
Tensor values(at::ScalarType dtype) {
  const PackedWeight whole(std::make_shared<const test::PackedNumbers>(kOutRows, kInColumns), dtype);
  const Tensor A_RI = normal({kPairRank, kInColumns}, 5, at::kFloat), B_OR = normal({kOutRows, kPairRank}, 6, at::kFloat);
  return whole.dequantised().to(at::kDouble) - kPairScale * B_OR.to(at::kDouble).mm(A_RI.to(at::kDouble));
}

TEST(ResidualWeight, MultipliesAsItsValuesDo) {
  for (const auto& [dtype, tolerance] : {std::pair<at::ScalarType, double>{at::kFloat, 2e-6}, {at::kBFloat16, 1.0 / 64}}) {
    const ResidualWeight weight = residual(dtype);
    const Tensor W = values(dtype);
    EXPECT_EQ(weight.bytes(), kOutRows * kInColumns + 4 * kPairRank * (kOutRows + kInColumns));
    expect_close(weight.dequantised(), W, tolerance);
    expect_close(weight.rows(5, 20), W.slice(0, 5, 20), tolerance);
    expect_close(weight.row_norms(at::kDouble), W.norm(2, {1}), 1e-5);
    for (const int64_t tokens : {1, 20}) {
      const Tensor x = normal({tokens, kInColumns}, 1, dtype), b = normal({kOutRows}, 2, dtype), dy = normal({tokens, kOutRows}, 3, dtype);
      expect_close(weight.multiply(x, std::nullopt), x.to(at::kDouble).mm(W.t()), tolerance);
      expect_close(weight.multiply(x, b), x.to(at::kDouble).mm(W.t()) + b, tolerance);
      const Tensor dx = weight.multiply_transposed(dy), product = dy.to(at::kDouble).mm(W);
      expect_close(dx, product, tolerance);
      // Added to columns of a larger tensor.
      const Tensor all = at::cat({dx, dx, dx}, 1), sum = all.narrow(1, kInColumns, kInColumns);
      EXPECT_TRUE(weight.multiply_transposed(dy, sum).is_same(sum));
      expect_close(sum, product + dx, tolerance);
      test::expect_equal(all.narrow(1, 2 * kInColumns, kInColumns), dx);
    }
  }
}

TEST(ResidualWeight, IsDifferentiatedByProjections) {
  const auto weight = std::make_shared<const ResidualWeight>(residual(at::kFloat));
  const Tensor x = normal({7, kInColumns}, 1, at::kFloat), dy = normal({7, kOutRows}, 2, at::kFloat);
  const Tensor input = x.clone().requires_grad_(true);
  project(input, {{weight}}).front().backward(dy);
  expect_close(input.grad(), dy.to(at::kDouble).mm(values(at::kFloat)), 2e-6);
}

}  // namespace
}  // namespace lora::ops
