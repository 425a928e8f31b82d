#include "lora/ops/packed_weight.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "lora/ops/lanes.h"
#include "lora/ops/lora_linear.h"
#include "low_rank_case.h"
#include "support/dense_weight.h"
#include "support/gradients.h"
#include "support/packed_numbers.h"
#include "support/single_thread.h"
#include "support/tensors.h"

namespace lora::ops {
namespace {

using test::expect_close;
using test::expect_equal;
using test::normal;
using test::PackedNumbers;
using test::trained;

PackedWeight packed(int64_t outputs, int64_t inputs, at::ScalarType dtype = at::kFloat) {
  return {std::make_shared<const PackedNumbers>(outputs, inputs), dtype};
}

TEST(PackedWeight, MultipliesAsItsValuesDo) {
  // One tile and several (of 2^23 elements), rows and columns that divide by nothing, few rows of x and more.
  for (const auto& [outputs, inputs] : {std::pair<int64_t, int64_t>{1, 1}, {5, 7}, {33, 100}, {4100, 2100}, {200, 70001}}) {
    const PackedWeight weight = packed(outputs, inputs);
    const Tensor W = weight.dequantised();
    EXPECT_EQ(weight.out_features(), outputs);
    EXPECT_EQ(weight.bytes(), outputs * inputs);
    expect_equal(weight.rows(outputs / 2, outputs), W.slice(0, outputs / 2));
    expect_close(weight.row_norms(at::kDouble), W.to(at::kDouble).norm(2, {1}), 1e-12);
    for (const int64_t tokens : {1, 4, 5, 20}) {
      const Tensor x = normal({tokens, inputs}, 1, at::kFloat), b = normal({outputs}, 2, at::kFloat),
                   dy = normal({tokens, outputs}, 3, at::kFloat);
      expect_close(weight.multiply(x, std::nullopt), x.mm(W.t()), 2e-6);
      expect_close(weight.multiply(x, b), x.mm(W.t()) + b, 2e-6);
      const Tensor dx = weight.multiply_transposed(dy), sum = dx.clone();
      expect_close(dx, dy.mm(W), 2e-6);
      EXPECT_TRUE(weight.multiply_transposed(dy, sum).is_same(sum));
      expect_close(sum, 2 * dx, 2e-6);
    }
  }
}

TEST(PackedWeight, InBFloat16IsRoundedOnce) {
  // Rows, columns and tokens that divide by nothing, fewer than a block of W has, and more; an odd number of inputs.
  for (const auto& [outputs, inputs] : {std::pair<int64_t, int64_t>{1, 2}, {5, 70}, {33, 101}, {577, 1030}}) {
    const PackedWeight weight = packed(outputs, inputs, at::kBFloat16);
    const Tensor W = weight.dequantised().to(at::kDouble), b = normal({outputs}, 2, at::kBFloat16);
    for (const int64_t tokens : {2, 40, 64, 517}) {
      const Tensor x = normal({tokens, inputs}, 1, at::kBFloat16), dy = normal({tokens, outputs}, 3, at::kBFloat16);
      constexpr double kTolerance = 1.0 / 256;
      const Tensor y = weight.multiply(x, b), product = x.to(at::kDouble).mm(W.t());
      EXPECT_EQ(y.scalar_type(), at::kBFloat16);
      expect_close(y, product + b, kTolerance);
      expect_close(weight.multiply(x, std::nullopt), product, kTolerance);
      expect_equal(weight.multiply(x.t().contiguous().t(), b), y);
      const Tensor dx = weight.multiply_transposed(dy), dproduct = dy.to(at::kDouble).mm(W);
      expect_close(dx, dproduct, kTolerance);
      // Added to columns of a larger tensor.
      const Tensor all = at::cat({dx, dx, dx}, 1), sum = all.narrow(1, inputs, inputs);
      EXPECT_TRUE(weight.multiply_transposed(dy, sum).is_same(sum));
      expect_close(sum, dproduct + dx, kTolerance);
      expect_equal(all.narrow(1, 2 * inputs, inputs), dx);
    }
  }
}

TEST(PackedWeight, InBFloat16HasTheSameBitsInParts) {
  const PackedWeight weight = packed(700, 1100, at::kBFloat16);
  const Tensor x = normal({600, 1100}, 1, at::kBFloat16), dy = normal({600, 700}, 3, at::kBFloat16);
  const auto results = [&](int threads, const Tensor& part_x, const Tensor& part_dy) {
    const test::Threads set(threads);
    return at::cat({weight.multiply(part_x, std::nullopt), weight.multiply_transposed(part_dy)}, 1);
  };
  const Tensor expected = results(1, x, dy);
  expect_equal(results(3, x, dy), expected, "three threads");
  expect_equal(results(2, x.narrow(0, 100, 77), dy.narrow(0, 100, 77)), expected.narrow(0, 100, 77), "some tokens");
}

TEST(PackedWeight, IsDifferentiatedByProjections) {
  const auto weight = std::make_shared<const PackedWeight>(packed(6, 10));
  const auto same = test::dense(weight->dequantised());
  const auto projected = [](const std::shared_ptr<const LinearWeight>& each) -> test::Differentiable {
    return [each](const std::vector<Tensor>& in) {
      return at::cat(project(in[0], {{each, in[3]}, {each, std::nullopt, LowRankTerm{in[1], in[2], 0.5, {}}}}), 1);
    };
  };
  const std::vector<Tensor> inputs{trained(normal({7, 10}, 1, at::kFloat)), trained(normal({2, 10}, 2, at::kFloat)),
                                   trained(normal({6, 2}, 3, at::kFloat)), trained(normal({6}, 4, at::kFloat))};
  test::expect_same_as_reference(projected(weight), projected(same), inputs, 1e-5);
}

TEST(PackedWeight, HasTheSameBitsInLanesAndWithSeveralThreads) {
  const PackedWeight weight = packed(4100, 2100);
  const auto results = [&weight](int64_t item) {
    const Tensor x = normal({item % 2 == 0 ? 3 : 20, 2100}, static_cast<uint64_t>(item), at::kFloat);
    const Tensor y = weight.multiply(x, std::nullopt);
    return at::cat({y, weight.multiply_transposed(y)}, 1);
  };
  std::vector<Tensor> alone, together(6);
  for (int64_t i = 0; i < 6; ++i) {
    alone.push_back(results(i));
  }
  const test::Threads threads(2);
  Lanes lanes(2);
  lanes.run(6, [&](int64_t i) { together[static_cast<size_t>(i)] = results(i); });
  for (size_t i = 0; i < alone.size(); ++i) {
    expect_equal(together[i], alone[i]);
    expect_close(results(static_cast<int64_t>(i)), alone[i], 1e-6);
  }
}

}  // namespace
}  // namespace lora::ops
