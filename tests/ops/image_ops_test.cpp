// The ops of networks over images: convolution, resizing, group norm, GEGLU, attention of images, each compared with its reference.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <array>

#include "lora/ops/conv2d.h"
#include "lora/ops/dropout.h"
#include "lora/ops/gated_activation.h"
#include "lora/ops/group_norm.h"
#include "lora/ops/rectangle_attention.h"
#include "lora/ops/recompute.h"
#include "support/gradients.h"
#include "support/tensors.h"

namespace lora::ops {
namespace {

using test::normal;
using Inputs = std::vector<Tensor>;

/// An op in float64 compared with central differences, and in every dtype with its reference.
void expect_image_op(const test::Differentiable& op, const test::Differentiable& reference, const Inputs& inputs, const std::string& what,
                     const std::vector<std::pair<at::ScalarType, double>>& tolerances) {
  test::expect_gradients(op, inputs, 1e-5, 1e-8, what);
  for (const auto& [type, tolerance] : tolerances) {
    Inputs typed;
    for (const Tensor& input : inputs) {
      typed.push_back(input.detach().to(type).requires_grad_(input.requires_grad()));
    }
    test::expect_same_as_reference(op, reference, typed, tolerance, what + " " + c10::toString(type));
  }
}

/// The difference that a dtype's own rounding of one result may cause.
const std::vector<std::pair<at::ScalarType, double>> kRounding{
    {at::kDouble, 1e-12}, {at::kFloat, 5e-6}, {at::kBFloat16, 0x1p-6}, {at::kHalf, 0x1p-9}};

TEST(FrozenConv2d, EqualsTheReferenceWithItsGradients) {
  // [kernel, stride, padding, height, width]: sizes that the stride divides, and others.
  const std::vector<std::array<int64_t, 5>> cases{{3, 1, 1, 4, 5}, {3, 2, 1, 4, 4}, {3, 2, 1, 5, 4},
                                                  {1, 1, 0, 3, 2}, {3, 2, 0, 6, 5}, {2, 3, 1, 5, 6}};
  for (const auto& [kernel, stride, padding, height, width] : cases) {
    const KernelSteps steps{stride, padding};
    for (const bool train_bias : {false, true}) {
      const Tensor kernels = normal({4, 3, kernel, kernel}, 2);
      const auto bind = [&](auto op) {
        return [op, kernels, steps](const Inputs& in) { return op(in[0], kernels.to(in[0].scalar_type()), in[1], steps); };
      };
      const Inputs inputs{normal({2, height, width, 3}, 1).requires_grad_(true), normal({4}, 3).requires_grad_(train_bias)};
      const std::string what = std::to_string(kernel) + " x " + std::to_string(kernel) + ", stride " + std::to_string(stride);
      expect_image_op(bind(frozen_conv2d), bind(conv2d_reference), inputs, what, {{at::kDouble, 1e-12}, {at::kFloat, 5e-6}});
    }
  }
}

TEST(FrozenConv2d, EqualsTheReferenceOnLargeImages) {
  // Too many pixels for the product with patches, or too many on one side of it.
  const std::vector<std::array<int64_t, 4>> cases{{1, 1, 24, 23}, {1, 0, 25, 24}, {2, 1, 34, 35}, {2, 1, 20, 20}};
  for (const auto& [stride, padding, height, width] : cases) {
    const KernelSteps steps{stride, padding};
    const auto bind = [steps](auto op) { return [op, steps](const Inputs& in) { return op(in[0], in[1].detach(), in[2], steps); }; };
    for (const auto& [type, tolerance] : {std::pair(at::kDouble, 1e-12), std::pair(at::kFloat, 1e-5), std::pair(at::kBFloat16, 0.03)}) {
      const Inputs inputs{normal({2, height, width, 5}, 1, type).requires_grad_(true), normal({4, 5, 3, 3}, 2, type), normal({4}, 3, type)};
      test::expect_same_as_reference(bind(frozen_conv2d), bind(conv2d_reference), inputs, tolerance, "stride " + std::to_string(stride));
    }
  }
}

TEST(FrozenConv2d, KeepsOnlyTheKernels) {
  const Tensor x = normal({1, 6, 6, 3}, 1, at::kFloat).requires_grad_(true), kernels = normal({4, 3, 3, 3}, 2, at::kFloat);
  Tensor input = x * 1;  // not a leaf, which the caller holds anyway
  const Tensor y = frozen_conv2d(input, kernels, std::nullopt, {1, 1});
  const c10::weak_intrusive_ptr<c10::StorageImpl> memory(input.storage().getWeakStorageImpl());
  input = Tensor();
  EXPECT_TRUE(memory.expired());
  y.sum().backward();
  EXPECT_TRUE(x.grad().defined());
  EXPECT_ANY_THROW(frozen_conv2d(x, kernels.clone().requires_grad_(true), std::nullopt, {1, 1}));
}

TEST(Conv2d, HasGradientsOfItsKernels) {
  const auto bind = [](auto op) { return [op](const Inputs& in) { return op(in[0], in[1], in[2], KernelSteps{2, 1}); }; };
  const auto trained = [](std::vector<int64_t> shape, uint64_t seed) { return normal(shape, seed).requires_grad_(true); };
  expect_image_op(bind([](auto... all) { return conv2d(all...); }), bind(conv2d_reference),
                  {trained({2, 5, 4, 3}, 1), trained({4, 3, 3, 3}, 2), trained({4}, 3)}, "trained",
                  {{at::kDouble, 1e-12}, {at::kFloat, 5e-6}});
}

TEST(NearestResize, EqualsTheReferenceWithItsGradients) {
  for (const auto& [height, width] : std::vector<std::array<int64_t, 2>>{{6, 8}, {5, 7}, {3, 4}}) {
    const auto bind = [height = height, width = width](auto op) { return [=](const Inputs& in) { return op(in[0], height, width); }; };
    expect_image_op(bind(nearest_resize), bind(nearest_resize_reference), {normal({2, 3, 4, 5}, 1).requires_grad_(true)}, "resize",
                    {{at::kDouble, 1e-13}, {at::kFloat, 1e-6}, {at::kBFloat16, 0x1p-7}});
  }
}

TEST(GroupNorm, EqualsTheReferenceWithItsGradients) {
  for (const bool silu : {false, true}) {
    for (const bool train : {false, true}) {
      // [pixels of a side, channels, groups]
      for (const auto& [side, channels, groups] : std::vector<std::array<int64_t, 3>>{{3, 8, 4}, {2, 6, 1}, {1, 10, 5}}) {
        const GroupNormOptions options{groups, 1e-3, silu};
        const auto bind = [options](auto op) { return [=](const Inputs& in) { return op(in[0], in[1], in[2], options); }; };
        const Inputs inputs{(normal({2, side, side, channels}, 1) + 0.5).detach().requires_grad_(true),
                            normal({channels}, 2).requires_grad_(train), normal({channels}, 3).requires_grad_(train)};
        expect_image_op(bind(group_norm), bind(group_norm_reference), inputs, "silu " + std::to_string(silu), kRounding);
      }
    }
  }
}

/// More pixels than one chunk.
TEST(GroupNorm, EqualsTheReferenceOnLargeImages) {
  for (const auto& [type, tolerance] : kRounding) {
    const auto bind = [](auto op) { return [=](const Inputs& in) { return op(in[0], in[1], in[2], GroupNormOptions{2, 1e-5, true}); }; };
    const Inputs inputs{normal({2, 17, 19, 8}, 1, type).requires_grad_(true), normal({8}, 2, type), normal({8}, 3, type)};
    test::expect_same_as_reference(bind(group_norm), bind(group_norm_reference), inputs, tolerance, c10::toString(type));
  }
}

TEST(GroupNorm, IsExactFarFromZeroAndOverManyPixels) {
  // The first pixel, from which sums are measured, is an outlier; the mean is a thousand times the deviation.
  Tensor x = normal({2, 40, 40, 8}, 1) + 1000;
  x.select(1, 0).select(1, 0).fill_(1007);
  const Tensor weight = normal({8}, 2), bias = normal({8}, 3);
  const GroupNormOptions options{2, 1e-5};
  const auto in_float = [](const Tensor& tensor) { return tensor.to(at::kFloat); };
  const Tensor exact = group_norm_reference(x.to(at::kFloat).to(at::kDouble), weight, bias, options);
  test::expect_close(group_norm(in_float(x), in_float(weight), in_float(bias), options), in_float(exact), 2e-4);  // 1000 has 4 digits more
  test::expect_close(group_norm(x, weight, bias, options), group_norm_reference(x, weight, bias, options), 1e-9);
}

TEST(PackedGatedActivation, EqualsTheReferenceWithItsGradients) {
  for (const Activation kind : {Activation::kGelu, Activation::kSilu}) {
    const auto op = [kind](const Inputs& in) { return packed_gated_activation(kind, in[0]); };
    const auto reference = [kind](const Inputs& in) {
      const std::vector<Tensor> halves = in[0].chunk(2, 1);
      return gated_activation_reference(kind, halves[1], halves[0]);
    };
    for (const int64_t width : {3, 16, 37}) {
      expect_image_op(op, reference, {normal({5, 2 * width}, 1).requires_grad_(true)}, "width " + std::to_string(width), kRounding);
    }
  }
}

TEST(RectangleAttention, EqualsTheReferenceWithItsGradients) {
  // [queries, keys, heads, channels]
  const std::vector<std::array<int64_t, 4>> cases{{6, 6, 2, 4}, {5, 3, 1, 5}, {3, 7, 2, 8}, {4, 1, 3, 2}};
  for (const auto& [queries, keys, heads, channels] : cases) {
    const double scale = 0.7;
    const auto bind = [scale](auto op) { return [=](const Inputs& in) { return op(in[0], in[1], in[2], scale); }; };
    const auto trained = [heads = heads, channels = channels](int64_t rows, uint64_t seed) {
      return normal({2, rows, heads, channels}, seed).requires_grad_(true);
    };
    const Inputs inputs{trained(queries, 1), trained(keys, 2), trained(keys, 3)};
    expect_image_op(bind(rectangle_attention), bind(rectangle_attention_reference), inputs, "keys " + std::to_string(keys),
                    {{at::kDouble, 1e-12}, {at::kFloat, 1e-5}, {at::kBFloat16, 0x1p-5}});
  }
  // More than one tile of the kernels, with an end that fills none.
  for (const auto& [queries, keys] : std::vector<std::array<int64_t, 2>>{{200, 200}, {150, 77}, {64, 129}}) {
    const auto bind = [](auto op) { return [=](const Inputs& in) { return op(in[0], in[1], in[2], 0.2); }; };
    const auto trained = [](int64_t rows, uint64_t seed) { return normal({2, rows, 2, 40}, seed, at::kFloat).requires_grad_(true); };
    test::expect_same_as_reference(bind(rectangle_attention), bind(rectangle_attention_reference),
                                   {trained(queries, 1), trained(keys, 2), trained(keys, 3)}, 1e-5, "tiles");
  }
}

TEST(PlaceKeys, DependOnTheRowAndThePlace) {
  const Tensor keys = at::tensor({int64_t{5}, int64_t{-7}}, at::kLong);
  const Tensor of_places = place_keys(keys, 3);
  ASSERT_EQ(of_places.size(0), 6);
  EXPECT_TRUE(at::equal(of_places.slice(0, 3), place_keys(keys.slice(0, 1), 3)));  // the same alone
  EXPECT_EQ(std::get<0>(at::_unique(of_places)).size(0), 6);
}

TEST(Recompute, OfSeveralInputsGivesTheGradientsOfEach) {
  const Tensor trained = normal({4, 3}, 5).requires_grad_(true);
  int calls = 0;
  const auto f = [&](const Inputs& in) {
    ++calls;
    return at::tanh(in[0].mm(trained)) * in[1] + in[2];
  };
  const auto inputs_of = [] {
    return Inputs{normal({2, 4}, 1).requires_grad_(true), normal({2, 3}, 2), normal({2, 3}, 3).requires_grad_(true)};
  };
  const Inputs plain = inputs_of(), again = inputs_of();
  test::probed(f(plain)).backward();
  const Tensor of_trained = trained.grad().clone();
  trained.mutable_grad() = Tensor();
  for (const bool offloads : {false, true}) {
    calls = 0;
    const Inputs own = inputs_of();
    const auto store = offloads ? std::make_shared<HostStore>() : nullptr;
    test::probed(recompute(std::function<Tensor(const Inputs&)>(f), own, store)).backward();
    EXPECT_EQ(calls, 2);
    test::expect_equal(own[0].grad(), plain[0].grad());
    EXPECT_FALSE(own[1].grad().defined());
    test::expect_equal(own[2].grad(), plain[2].grad());
    test::expect_equal(trained.grad(), of_trained);
    trained.mutable_grad() = Tensor();
  }
}

}  // namespace
}  // namespace lora::ops
