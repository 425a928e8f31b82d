// A convolution with low-rank attachments, compared with the convolution by the weight that they mean.
#include "lora/nn/conv2d.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "lora/base/random.h"
#include "lora/nn/low_rank.h"
#include "lora/nn/pass.h"
#include "lora/ops/dropout.h"
#include "support/map_source.h"
#include "support/tensors.h"

namespace lora::nn {
namespace {

using test::normal;

const Conv2dShape kPixels{.in_channels = 3, .out_channels = 4, .kernel = 1, .steps = {.stride = 1, .padding = 0}};
const Conv2dShape kHalving{.in_channels = 3, .out_channels = 4, .kernel = 3, .steps = {.stride = 2, .padding = 1}};

Conv2d make_convolution(const Conv2dShape& shape, at::ScalarType dtype = at::kDouble) {
  test::MapSource source;
  return {"conv", shape, source, dtype};
}

LowRank make_pair(const Conv2dShape& shape, const std::string& adapter, uint64_t seed, bool dora, double dropout = 0.0) {
  const Tensor A = normal({2, shape.in_channels, shape.kernel, shape.kernel}, seed);
  LowRank pair(adapter, A, normal({shape.out_channels, 2, 1, 1}, seed + 1), 0.7, dropout);
  if (dora) {
    pair.magnitude_O = normal({1, shape.out_channels, 1, 1}, seed + 2).abs() + 1;
  }
  return pair;
}

Pass images_pass(Tensor keys = {}) {
  return Pass(Batch{}, std::move(keys));
}

TEST(Conv2d, APairGivesWhatItsWeightMeans) {
  for (const Conv2dShape& shape : {kPixels, kHalving}) {
    for (const bool dora : {false, true}) {
      Conv2d convolution = make_convolution(shape);
      EXPECT_STREQ(convolution.kind(), "Conv2d");
      EXPECT_EQ(convolution.base_parameters()[0].tensor.sizes(), (std::vector<int64_t>{4, 3, shape.kernel, shape.kernel}));
      const Tensor x = normal({2, 5, 6, 3}, 1);
      const Tensor plain = convolution.forward(x, images_pass());
      const Tensor bias = *convolution.bias_in_use();
      const auto convolved = [&](const Tensor& kernels) { return ops::conv2d_reference(x, kernels, bias, shape.steps); };
      test::expect_close(plain, convolved(convolution.base_parameters()[0].tensor), 1e-12);
      convolution.attach(make_pair(shape, "a", 10, dora));
      const Tensor adapted = convolution.forward(x, images_pass());
      const Tensor weight = convolution.attached<LowRank>()[0]->applied_to(convolution.matrix());
      test::expect_close(adapted, convolved(weight.view({4, 3, shape.kernel, shape.kernel})), 1e-12, "dora " + std::to_string(dora));
      EXPECT_GT((adapted - plain).abs().max().item<double>(), 0.1);
      convolution.use_adapter("");
      test::expect_equal(convolution.forward(x, images_pass()), plain);
    }
  }
}

TEST(Conv2d, SeveralPairsAddUp) {
  for (const Conv2dShape& shape : {kPixels, kHalving}) {
    const Tensor x = normal({1, 4, 4, 3}, 1);
    const auto result = [&](const std::vector<uint64_t>& seeds) {
      Conv2d convolution = make_convolution(shape);
      for (const uint64_t seed : seeds) {
        convolution.attach(make_pair(shape, std::to_string(seed), seed, /*dora=*/seed == 20));
      }
      return convolution.forward(x, images_pass());
    };
    test::expect_close(result({10, 20}) - result({20}), result({10}) - result({}), 1e-11);
  }
}

TEST(Conv2d, DropsThePixelsThatThePairSees) {
  for (const bool dora : {false, true}) {
    Conv2d convolution = make_convolution(kHalving);
    convolution.attach(make_pair(kHalving, "a", 10, dora, /*dropout=*/0.5));
    const LowRank& pair = *convolution.attached<LowRank>()[0];
    const Tensor x = normal({2, 4, 4, 3}, 1), keys = ops::place_keys(at::arange(2, at::kLong), 16);
    const Pass pass = images_pass(keys);
    const ops::DropoutDraw draw = pair.term(pass, hash_name("conv")).dropout;
    const Tensor dropped = ops::dropout_reference(x.flatten(0, 2), draw).view(x.sizes());
    const Tensor weight = convolution.base_parameters()[0].tensor;
    const auto of_weight = [&](const Tensor& input, const Tensor& kernels) {
      return ops::conv2d_reference(input, kernels.view(weight.sizes()), std::nullopt, kHalving.steps);
    };
    const Tensor expected = of_weight(x, weight) + of_weight(dropped, pair.applied_to(convolution.matrix())) - of_weight(dropped, weight) +
                            *convolution.bias_in_use();
    test::expect_close(convolution.forward(x, pass), expected, 1e-12);
  }
}

TEST(Conv2d, KeepsFloatPairsWithHalfWeights) {
  Conv2d convolution = make_convolution(kHalving, at::kBFloat16);
  LowRank pair = make_pair(kHalving, "a", 10, /*dora=*/true);
  pair = LowRank("a", pair.A_RI.to(at::kFloat).requires_grad_(true), pair.B_OR.to(at::kFloat).requires_grad_(true), 0.7);
  convolution.attach(pair);
  const Tensor x = normal({1, 4, 4, 3}, 1, at::kBFloat16).requires_grad_(true);
  const Tensor y = convolution.forward(x, images_pass());
  EXPECT_EQ(y.scalar_type(), at::kBFloat16);
  y.sum().backward();
  EXPECT_EQ(pair.A_RI.grad().scalar_type(), at::kFloat);
  EXPECT_EQ(pair.A_RI.grad().sizes(), pair.A_RI.sizes());
  EXPECT_EQ(x.grad().scalar_type(), at::kBFloat16);
  EXPECT_TRUE(convolution.is_trained());
  EXPECT_EQ(convolution.kept().elements, 3);
}

}  // namespace
}  // namespace lora::nn
