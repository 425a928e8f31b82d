#include "lora/ops/linear_weight.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "lora/ops/dora_linear.h"
#include "lora/ops/lora_linear.h"
#include "low_rank_case.h"
#include "support/dense_weight.h"
#include "support/gradients.h"
#include "support/scaled_rows.h"
#include "support/tensors.h"

namespace lora::ops {
namespace {

using test::expect_close;
using test::expect_equal;
using test::kIn;
using test::kOut;
using test::kRank;
using test::kTokens;
using test::normal;
using test::trained;

std::vector<Tensor> scaled_rows_inputs() {
  return {trained(normal({kTokens, kIn}, 1)), trained(normal({kRank, kIn}, 2)), trained(normal({kOut, kRank}, 3)),
          trained(normal({kOut}, 4))};
}

TEST(DenseWeight, IsTheTensorInEitherLayout) {
  const Tensor W = normal({kOut, kIn}, 4), x = normal({kTokens, kIn}, 1), b = normal({kOut}, 2), dy = normal({kTokens, kOut}, 3);
  for (const WeightLayout layout : {WeightLayout::kOutIn, WeightLayout::kInOut}) {
    const Tensor stored = layout == WeightLayout::kOutIn ? W : W.t().contiguous();
    const DenseWeight weight(stored, layout);
    EXPECT_EQ(weight.in_features(), kIn);
    EXPECT_EQ(weight.out_features(), kOut);
    EXPECT_EQ(weight.bytes(), kOut * kIn * 8);
    EXPECT_TRUE(weight.tensor().is_same(stored));
    EXPECT_EQ(weight.dequantised().data_ptr(), stored.data_ptr());
    expect_equal(weight.dequantised(), W);
    expect_equal(weight.rows(1, 3), W.slice(0, 1, 3));
    expect_close(weight.multiply(x, std::nullopt), x.mm(W.t()), 1e-13);
    expect_close(weight.multiply(x, b), x.mm(W.t()) + b, 1e-13);
    const Tensor dx = weight.multiply_transposed(dy), sum = dx.clone();
    expect_close(dx, dy.mm(W), 1e-13);
    EXPECT_TRUE(weight.multiply_transposed(dy, sum).is_same(sum));
    expect_close(sum, 2 * dx, 1e-13);
    expect_close(weight.row_norms(at::kDouble), W.norm(2, {1}), 1e-13);
    EXPECT_FALSE(weight.requires_grad());
    EXPECT_TRUE(DenseWeight(trained(stored), layout).requires_grad());
  }
}

TEST(LinearWeight, OfAnotherKindGivesTheResultsOfItsDequantisedView) {
  const auto weight = std::make_shared<const test::ScaledRows>(kOut, kIn);
  const auto same = test::dense(weight->dequantised());
  const auto projected = [](const std::shared_ptr<const LinearWeight>& each) -> test::Differentiable {
    return [each](const std::vector<Tensor>& in) {
      return at::cat(project(in[0], {{each, in[3]}, {each, std::nullopt, LowRankTerm{in[1], in[2], 0.5, {}}}}), 1);
    };
  };
  test::expect_same_as_reference(projected(weight), projected(same), scaled_rows_inputs(), 1e-12);
  test::expect_gradients(projected(weight), scaled_rows_inputs(), 1e-3, 1e-9);

  const Tensor norms = adapted_row_norms(*weight, weight->row_norms(at::kDouble), scaled_rows_inputs()[1], scaled_rows_inputs()[2], 0.5);
  const Tensor sum = adapted_weight(*weight, scaled_rows_inputs()[1], scaled_rows_inputs()[2], 0.5);
  expect_close(norms, sum.norm(2, {1}).detach(), 1e-10);
  const auto with_norms = [&norms](const std::shared_ptr<const LinearWeight>& each) -> test::Differentiable {
    return [each, norms](const std::vector<Tensor>& in) {
      return dora_linear(in[0], each, std::nullopt, {{in[1], in[2], 0.5, {}, {}}, in[3], norms});
    };
  };
  test::expect_same_as_reference(with_norms(weight), with_norms(same), scaled_rows_inputs(), 1e-12);

  const auto plain = [](const std::shared_ptr<const LinearWeight>& each) -> test::Differentiable {
    return [each](const std::vector<Tensor>& in) { return linear(in[0], each, in[1]); };
  };
  test::expect_same_as_reference(plain(weight), plain(same), {scaled_rows_inputs()[0], scaled_rows_inputs()[3]}, 1e-12);
}

}  // namespace
}  // namespace lora::ops
