#include "lora/ops/dora_linear.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "low_rank_case.h"
#include "support/dense_weight.h"
#include "support/gradients.h"
#include "support/tensors.h"

namespace lora::ops {
namespace {

using test::draw_of;
using test::expect_close;
using test::kIn;
using test::kOut;
using test::kRank;
using test::kScale;
using test::kTokens;
using test::LowRankSetting;
using test::normal;
using test::trained;

const std::vector<LowRankSetting> kDoraSettings{{"plain", false, 0.0, true},
                                                {"trained bias", true, 0.0, true},
                                                {"dropout", false, 0.4, true},
                                                {"trained bias and dropout", true, 0.4, true},
                                                {"x frozen", true, 0.0, false}};

/// x, A, B, magnitude and the base's bias.
std::vector<Tensor> dora_inputs(const LowRankSetting& setting, at::ScalarType x_type, at::ScalarType ab_type) {
  return {normal({kTokens, kIn}, 1, x_type).requires_grad_(setting.x_needs_grad), normal({kRank, kIn}, 2, ab_type).requires_grad_(true),
          normal({kOut, kRank}, 3, ab_type).requires_grad_(true), (normal({kOut}, 6, ab_type) + 3).requires_grad_(true),
          normal({kOut}, 5, x_type).requires_grad_(setting.bias)};
}

/// dora_linear() of a dense weight.
Tensor dense_dora_linear(const Tensor& x_TI, const Tensor& W_OI, const std::optional<Tensor>& bias_O, const DoraTerm& term) {
  return dora_linear(x_TI, test::dense(W_OI), bias_O, term);
}

/// The norms of the rows of W + scale · B A.
Tensor sum_norms(const Tensor& W_OI, const Tensor& A_RI, const Tensor& B_OR, double scale) {
  const DenseWeight weight(W_OI);
  return adapted_row_norms(weight, weight.row_norms(A_RI.scalar_type()), A_RI, B_OR, scale);
}

using DoraOp = Tensor (*)(const Tensor&, const Tensor&, const std::optional<Tensor>&, const DoraTerm&);

/// The norm is constant, as in DoRA: differences of A and B do not change it.
test::Differentiable dora_function(DoraOp op, const LowRankSetting& setting, at::ScalarType type, at::ScalarType ab_type) {
  const Tensor W = normal({kOut, kIn}, 4, type);
  const std::vector<Tensor> at_start = dora_inputs(setting, type, ab_type);
  const Tensor norm = sum_norms(W, at_start[1], at_start[2], kScale);
  const DropoutDraw draw = draw_of(setting.p);
  return [=](const std::vector<Tensor>& in) {
    const std::optional<Tensor> bias = setting.bias ? std::optional(in[4]) : std::nullopt;
    return op(in[0], W, bias, {{in[1], in[2], kScale, draw, {}}, in[3], norm});
  };
}

TEST(DoraLinear, Float64EqualsCentralDifferencesAndTheReference) {
  for (const LowRankSetting& setting : kDoraSettings) {
    std::vector<Tensor> inputs = dora_inputs(setting, at::kDouble, at::kDouble);
    const auto fused = dora_function(dense_dora_linear, setting, at::kDouble, at::kDouble);
    test::expect_gradients(fused, inputs, 1e-3, 1e-9, setting.name);
    test::expect_same_as_reference(fused, dora_function(dora_linear_reference, setting, at::kDouble, at::kDouble), inputs, 1e-13,
                                   setting.name);
  }
}

TEST(DoraLinear, Float32EqualsTheReferenceAndTheFormula) {
  for (const LowRankSetting& setting : kDoraSettings) {
    test::expect_same_as_reference(dora_function(dense_dora_linear, setting, at::kFloat, at::kFloat),
                                   dora_function(dora_linear_reference, setting, at::kFloat, at::kFloat),
                                   dora_inputs(setting, at::kFloat, at::kFloat), 3e-6, setting.name);
  }
  const Tensor x = normal({kTokens, kIn}, 1), W = normal({kOut, kIn}, 4), b = normal({kOut}, 5), A = normal({kRank, kIn}, 2),
               B = normal({kOut, kRank}, 3), m = normal({kOut}, 6);
  const Tensor sum = W + kScale * B.mm(A);
  const Tensor norm = sum.norm(2, {1});
  expect_close(dense_dora_linear(x, W, b, {{A, B, kScale, {}, {}}, m, norm}), x.mm((sum * (m / norm).unsqueeze(1)).t()) + b, 1e-13);
  // A magnitude equal to the norm changes nothing.
  expect_close(dense_dora_linear(x, W, b, {{A, B, kScale, {}, {}}, norm, norm}), x.mm(sum.t()) + b, 1e-13);
}

TEST(DoraLinear, Float32AdapterBesideAHalfPrecisionBase) {
  for (const at::ScalarType half : {at::kBFloat16, at::kHalf}) {
    const double unit = half == at::kBFloat16 ? 0x1p-7 : 0x1p-10;  // one unit in the last place, relative
    for (const LowRankSetting& setting : kDoraSettings) {
      const std::vector<Tensor> inputs = dora_inputs(setting, half, at::kFloat);
      const auto fused = dora_function(dense_dora_linear, setting, half, at::kFloat);
      const auto reference = dora_function(dora_linear_reference, setting, half, at::kFloat);
      EXPECT_EQ(fused(inputs).scalar_type(), half);
      expect_close(fused(inputs), reference(inputs), 2 * unit, setting.name);
      const std::vector<Tensor> actual = test::gradients(fused, inputs);
      const std::vector<Tensor> expected = test::gradients(reference, inputs);
      for (size_t i = 0; i < inputs.size(); ++i) {
        if (inputs[i].requires_grad()) {
          EXPECT_EQ(actual[i].scalar_type(), inputs[i].scalar_type());
          expect_close(actual[i], expected[i], 3 * unit, setting.name);
        }
      }
    }
  }
}

DoraTerm term_of(const Tensor& A, const Tensor& B, const Tensor& magnitude, const Tensor& norm) {
  DoraTerm term;
  term.low_rank.A_RI = A;
  term.low_rank.B_OR = B;
  term.low_rank.scale = kScale;
  term.magnitude_O = magnitude;
  term.norm_O = norm;
  return term;
}

TEST(DoraLinear, TheWeightMustBeFrozenAndGetsNoGradient) {
  const Tensor x = normal({kTokens, kIn}, 1), W = normal({kOut, kIn}, 4), m = normal({kOut}, 6), norm = at::ones({kOut}, at::kDouble);
  const Tensor A = trained(normal({kRank, kIn}, 2)), B = trained(normal({kOut, kRank}, 3));
  const DoraTerm term = term_of(A, B, trained(m), norm);
  dense_dora_linear(x, W, std::nullopt, term).sum().backward();
  EXPECT_FALSE(x.grad().defined() || W.grad().defined());
  EXPECT_TRUE(A.grad().defined() && B.grad().defined() && term.magnitude_O.grad().defined());
  const Tensor unfrozen = trained(W);
  EXPECT_THROW(dense_dora_linear(x, unfrozen, std::nullopt, term), c10::Error);
}

TEST(AdaptedRowNorms, EqualTheSumsAlsoWhereItsTermsCancel) {
  const Tensor A = normal({kRank, 40}, 2), B = normal({9, kRank}, 3);
  // From rows that the pair does not change to rows of which it leaves a ten-thousandth.
  const Tensor left = at::pow(10.0, at::linspace(0.5, -4, 9, at::kDouble)).unsqueeze(1);
  const Tensor W = -kScale * B.mm(A) + left * normal({9, 40}, 4);
  const Tensor exact = (W + kScale * B.mm(A)).norm(2, {1});
  const Tensor wide = sum_norms(W, A, B, kScale);
  EXPECT_LE(((wide - exact) / exact).abs().max().item<double>(), 1e-10);

  const Tensor W_float = W.to(at::kFloat), A_float = A.to(at::kFloat), B_float = B.to(at::kFloat);
  const Tensor direct = (W_float.to(at::kDouble) + kScale * B_float.to(at::kDouble).mm(A_float.to(at::kDouble))).norm(2, {1});
  const Tensor narrow = sum_norms(W_float, A_float, B_float, kScale).to(at::kDouble);
  // Like the sum itself in float32: an error of one ulp of the terms.
  const Tensor allowed = 1e-6 * direct + 1e-6 * W_float.norm(2, {1}).to(at::kDouble) * (direct < 0.1 * W_float.norm(2, {1}));
  EXPECT_TRUE((narrow - direct).abs().le(allowed).all().item<bool>()) << (narrow - direct) / direct;

  // A weight that is narrower than A, in more than one chunk of rows, and a transposed one: an embedding's.
  const Tensor large = normal({3000, 1500}, 7, at::kBFloat16), down = normal({2, 1500}, 8, at::kFloat),
               up = normal({3000, 2}, 9, at::kFloat);
  const Tensor sum = large.to(at::kDouble) + 0.5 * up.to(at::kDouble).mm(down.to(at::kDouble));
  const Tensor norms = sum_norms(large, down, up, 0.5);
  EXPECT_EQ(norms.scalar_type(), at::kFloat);
  expect_close(norms, sum.norm(2, {1}), 1e-6);
  const DenseWeight table(W.t().contiguous(), WeightLayout::kInOut);
  expect_close(adapted_row_norms(table, table.row_norms(at::kDouble), A, B, kScale), exact, 1e-10);
}

}  // namespace
}  // namespace lora::ops
