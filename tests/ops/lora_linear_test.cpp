#include "lora/ops/lora_linear.h"

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
using test::expect_equal;
using test::kIn;
using test::kOut;
using test::kRank;
using test::kScale;
using test::kTokens;
using test::LowRankSetting;
using test::normal;
using test::token_keys;
using test::trained;

/// project() of a single projection.
Tensor lora_linear(const Tensor& x_TI, const Tensor& W_OI, const std::optional<Tensor>& bias_O, const LowRankTerm& term) {
  return project(x_TI, {{test::dense(W_OI), bias_O, term}}).front();
}

const std::vector<LowRankSetting> kLoraSettings{{"plain", false, 0.0, true},    {"bias", true, 0.0, true},
                                                {"dropout", false, 0.4, true},  {"bias and dropout", true, 0.4, true},
                                                {"x frozen", true, 0.0, false}, {"x frozen, dropout", false, 0.4, false}};

std::vector<Tensor> lora_inputs(const LowRankSetting& setting, at::ScalarType x_type, at::ScalarType ab_type) {
  return {normal({kTokens, kIn}, 1, x_type).requires_grad_(setting.x_needs_grad), normal({kRank, kIn}, 2, ab_type).requires_grad_(true),
          normal({kOut, kRank}, 3, ab_type).requires_grad_(true)};
}

using LoraOp = Tensor (*)(const Tensor&, const Tensor&, const std::optional<Tensor>&, const LowRankTerm&);

test::Differentiable lora_function(LoraOp op, const LowRankSetting& setting, at::ScalarType type) {
  const Tensor W = normal({kOut, kIn}, 4, type);
  const std::optional<Tensor> bias = setting.bias ? std::optional(normal({kOut}, 5, type)) : std::nullopt;
  return [=](const std::vector<Tensor>& in) { return op(in[0], W, bias, {in[1], in[2], kScale, draw_of(setting.p)}); };
}

TEST(LoraLinear, Float64EqualsCentralDifferencesAndTheReference) {
  for (const LowRankSetting& setting : kLoraSettings) {
    const std::vector<Tensor> inputs = lora_inputs(setting, at::kDouble, at::kDouble);
    const auto fused = lora_function(lora_linear, setting, at::kDouble);
    test::expect_gradients(fused, inputs, 1e-3, 1e-9, setting.name);
    test::expect_same_as_reference(fused, lora_function(lora_linear_reference, setting, at::kDouble), inputs, 1e-13, setting.name);
  }
}

TEST(LoraLinear, Float32EqualsTheReferenceAndTheFormula) {
  for (const LowRankSetting& setting : kLoraSettings) {
    test::expect_same_as_reference(lora_function(lora_linear, setting, at::kFloat),
                                   lora_function(lora_linear_reference, setting, at::kFloat), lora_inputs(setting, at::kFloat, at::kFloat),
                                   2e-6, setting.name);
  }
  const Tensor x = normal({kTokens, kIn}, 1), W = normal({kOut, kIn}, 4), b = normal({kOut}, 5), A = normal({kRank, kIn}, 2),
               B = normal({kOut, kRank}, 3);
  expect_close(lora_linear(x, W, b, {A, B, kScale, {}}), x.mm(W.t()) + b + kScale * x.mm(B.mm(A).t()), 1e-13);
  // Dropout only affects the low-rank part.
  const DropoutDraw draw = draw_of(0.4);
  expect_close(lora_linear(x, W, b, {A, B, kScale, draw}), x.mm(W.t()) + b + kScale * dropout_reference(x, draw).mm(B.mm(A).t()), 1e-13);
}

TEST(LoraLinear, Float32AdapterBesideAHalfPrecisionBase) {
  for (const at::ScalarType half : {at::kBFloat16, at::kHalf}) {
    for (const LowRankSetting& setting : kLoraSettings) {
      const std::vector<Tensor> inputs = lora_inputs(setting, half, at::kFloat);
      const auto fused = lora_function(lora_linear, setting, half);
      const auto reference = lora_function(lora_linear_reference, setting, half);
      const double unit = half == at::kBFloat16 ? 0x1p-7 : 0x1p-10;  // one unit in the last place, relative
      EXPECT_EQ(fused(inputs).scalar_type(), half);
      expect_close(fused(inputs), reference(inputs), unit, setting.name);
      const std::vector<Tensor> actual = test::gradients(fused, inputs);
      const std::vector<Tensor> expected = test::gradients(reference, inputs);
      for (const size_t adapter : {1, 2}) {  // in float32, from the same half-precision values
        EXPECT_EQ(actual[adapter].scalar_type(), at::kFloat);
        expect_close(actual[adapter], expected[adapter], 1e-5, setting.name);
      }
      if (setting.x_needs_grad) {
        EXPECT_EQ(actual[0].scalar_type(), half);
        expect_close(actual[0], expected[0], 2 * unit, setting.name);
      }
    }
  }
}

TEST(LoraLinear, MixedTypesOfSizesThatKernelsDoNotDivide) {
  // Rows, columns and ranks beyond the kernels' blocks, and not multiples of them.
  for (const at::ScalarType half : {at::kBFloat16, at::kHalf}) {
    for (const int64_t rank : {1, 8, 33}) {
      const Tensor W = normal({77, 140}, 4, half);
      const auto bind = [&W](LoraOp op) {
        return [&W, op](const std::vector<Tensor>& in) { return op(in[0], W, std::nullopt, {in[1], in[2], 0.5, {}}); };
      };
      const std::vector<Tensor> inputs{trained(normal({263, 140}, 1, half)), trained(normal({rank, 140}, 2, at::kFloat)),
                                       trained(normal({77, rank}, 3, at::kFloat))};
      const double unit = half == at::kBFloat16 ? 0x1p-7 : 0x1p-10;
      const std::string what = "rank " + std::to_string(rank);
      expect_close(bind(lora_linear)(inputs), bind(lora_linear_reference)(inputs), unit, what);
      const std::vector<Tensor> actual = test::gradients(bind(lora_linear), inputs);
      const std::vector<Tensor> expected = test::gradients(bind(lora_linear_reference), inputs);
      expect_close(actual[0], expected[0], 2 * unit, what);
      expect_close(actual[1], expected[1], 1e-5, what);
      expect_close(actual[2], expected[2], 1e-5, what);
    }
  }
}

TEST(LoraLinear, NothingIsComputedForFrozenTensors) {
  const Tensor W = normal({kOut, kIn}, 4);
  const Tensor x = normal({kTokens, kIn}, 1);
  const Tensor A = trained(normal({kRank, kIn}, 2)), B = trained(normal({kOut, kRank}, 3));
  lora_linear(x, W, std::nullopt, {A, B, kScale, {}}).sum().backward();
  EXPECT_FALSE(x.grad().defined());
  EXPECT_FALSE(W.grad().defined());
  EXPECT_TRUE(A.grad().defined() && B.grad().defined());
  EXPECT_THROW(lora_linear(x, trained(W), std::nullopt, {A, B, kScale, {}}), c10::Error);
}

/// Three projections of one input like q, k and v: one with bias, one without a low-rank part, and different ranks.
std::vector<Projection> group_of(const std::vector<Tensor>& in, at::ScalarType type, double p) {
  const auto weight = [type](int64_t out, uint64_t seed) { return test::dense(normal({out, kIn}, seed, type)); };
  return {{weight(kOut, 4), normal({kOut}, 5, type), LowRankTerm{in[1], in[2], kScale, draw_of(p)}},
          {weight(3, 6), normal({3}, 7, type)},
          {weight(2, 8), std::nullopt, LowRankTerm{in[3], in[4], 0.5, {token_keys(), 0x77ULL, p}}}};
}

std::vector<Tensor> group_inputs(at::ScalarType x_type, at::ScalarType ab_type, bool x_needs_grad) {
  return {normal({kTokens, kIn}, 1, x_type).requires_grad_(x_needs_grad), trained(normal({kRank, kIn}, 2, ab_type)),
          trained(normal({kOut, kRank}, 3, ab_type)), trained(normal({2, kIn}, 9, ab_type)), trained(normal({2, 2}, 10, ab_type))};
}

TEST(Project, AGroupIsItsProjectionsOneByOne) {
  const auto together = [](at::ScalarType type, double p) -> test::Differentiable {
    return [=](const std::vector<Tensor>& in) { return at::cat(project(in[0], group_of(in, type, p)), 1); };
  };
  const auto one_by_one = [](at::ScalarType type, double p) -> test::Differentiable {
    return [=](const std::vector<Tensor>& in) {
      std::vector<Tensor> outputs;
      for (const Projection& each : group_of(in, type, p)) {
        const Tensor W_OI = each.weight->dequantised();
        outputs.push_back(each.low_rank ? lora_linear_reference(in[0], W_OI, each.bias_O, *each.low_rank)
                                        : at::linear(in[0], W_OI, each.bias_O.value_or(Tensor())));
      }
      return at::cat(outputs, 1);
    };
  };
  for (const double p : {0.0, 0.4}) {
    for (const bool x_needs_grad : {true, false}) {
      const auto wide = group_inputs(at::kDouble, at::kDouble, x_needs_grad);
      test::expect_gradients(together(at::kDouble, p), wide, 1e-3, 1e-9);
      test::expect_same_as_reference(together(at::kDouble, p), one_by_one(at::kDouble, p), wide, 1e-13);
      test::expect_same_as_reference(together(at::kFloat, p), one_by_one(at::kFloat, p), group_inputs(at::kFloat, at::kFloat, x_needs_grad),
                                     2e-6);
      test::expect_same_as_reference(together(at::kBFloat16, p), one_by_one(at::kBFloat16, p),
                                     group_inputs(at::kBFloat16, at::kFloat, x_needs_grad), 0x1p-6);
    }
  }
}

TEST(Project, FrozenProjectionsPassTheGradientThrough) {
  const auto op = [](const std::vector<Tensor>& in) {
    return at::cat(project(in[0], {{test::dense(normal({kOut, kIn}, 4))}, {test::dense(normal({3, kIn}, 5)), in[1]}}), 1);
  };
  test::expect_gradients(op, {normal({kTokens, kIn}, 1).requires_grad_(true), trained(normal({3}, 2))}, 1e-3, 1e-9);
}

TEST(LowRank, Float64EqualsCentralDifferencesAndTheFormula) {
  for (const LowRankSetting& setting : kLoraSettings) {
    const std::vector<Tensor> inputs = lora_inputs(setting, at::kDouble, at::kDouble);
    test::expect_gradients(
        [&](const std::vector<Tensor>& in) {
          return low_rank(in[0], {in[1], in[2], kScale, draw_of(setting.p)});
        },
        inputs, 1e-3, 1e-9, setting.name);
    const Tensor dropped = setting.p > 0 ? dropout_reference(inputs[0].detach(), draw_of(setting.p)) : inputs[0];
    expect_close(low_rank(inputs[0], {inputs[1], inputs[2], kScale, draw_of(setting.p)}), kScale * dropped.mm(inputs[2].mm(inputs[1]).t()),
                 1e-13);
  }
  // In the adapter's dtype, not x's.
  const Tensor narrow = normal({kTokens, kIn}, 1, at::kBFloat16);
  EXPECT_EQ(low_rank(narrow, {normal({kRank, kIn}, 2, at::kFloat), normal({kOut, kRank}, 3, at::kFloat), 1.0, {}}).scalar_type(),
            at::kFloat);
}

TEST(LoraLinear, BiasesOfBothPartsCanBeTrained) {
  const Tensor W = normal({kOut, kIn}, 4);
  const auto bind = [&W](LoraOp op, at::ScalarType type) {
    return [&W, op, type](const std::vector<Tensor>& in) {
      return op(in[0], W.to(type), in[3], {in[1], in[2], kScale, draw_of(0.4), in[4]});
    };
  };
  std::vector<Tensor> inputs = lora_inputs({"", false, 0.4, true}, at::kDouble, at::kDouble);
  inputs.push_back(trained(normal({kOut}, 5)));
  inputs.push_back(trained(normal({kOut}, 6)));
  test::expect_gradients(bind(lora_linear, at::kDouble), inputs, 1e-3, 1e-9);
  test::expect_same_as_reference(bind(lora_linear, at::kDouble), bind(lora_linear_reference, at::kDouble), inputs, 1e-13);
  const Tensor x = normal({kTokens, kIn}, 1), A = normal({kRank, kIn}, 2), B = normal({kOut, kRank}, 3);
  expect_close(lora_linear(x, W, inputs[3], {A, B, kScale, {}, inputs[4]}),
               x.mm(W.t()) + inputs[3] + kScale * (x.mm(B.mm(A).t()) + inputs[4]), 1e-13);
  inputs[3].requires_grad_(false);  // only one is trained
  test::expect_gradients(bind(lora_linear, at::kDouble), inputs, 1e-3, 1e-9);

  // With a half-precision base each bias gets a gradient in its own dtype.
  std::vector<Tensor> mixed = lora_inputs({"", false, 0.4, true}, at::kBFloat16, at::kFloat);
  mixed.push_back(trained(normal({kOut}, 5, at::kBFloat16)));
  mixed.push_back(trained(normal({kOut}, 6, at::kFloat)));
  const std::vector<Tensor> actual = test::gradients(bind(lora_linear, at::kBFloat16), mixed);
  const std::vector<Tensor> expected = test::gradients(bind(lora_linear_reference, at::kBFloat16), mixed);
  for (const size_t bias : {3, 4}) {
    EXPECT_EQ(actual[bias].scalar_type(), mixed[bias].scalar_type());
    expect_close(actual[bias], expected[bias], 0x1p-7);
  }
}

TEST(LoraLinear, BackwardDrawsTheSameDropoutAgain) {
  // With B = identity and A = identity the gradient of x is the mask itself, so it must agree with the forward's zeros.
  const Tensor one = at::eye(kIn, at::kDouble);
  const Tensor x = trained(at::ones({kTokens, kIn}, at::kDouble));
  const DropoutDraw draw = draw_of(0.5);
  const Tensor y = lora_linear(x, at::zeros({kIn, kIn}, at::kDouble), std::nullopt, {trained(one), trained(one), 1.0, draw});
  y.sum().backward();
  expect_equal(x.grad(), y.detach());
  expect_equal(y.detach(), dropout_reference(at::ones({kTokens, kIn}, at::kDouble), draw));
}

}  // namespace
}  // namespace lora::ops
