#include "lora/ops/layer_norm.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <array>

#include "support/gradients.h"
#include "support/tensors.h"

namespace lora::ops {
namespace {

using test::normal;
using Inputs = std::vector<Tensor>;

/// The difference that a dtype's own rounding may cause, relative to the largest magnitude. In half precision LibTorch keeps mean and
/// deviation of a row in half precision too, as in a run of torch.
const std::vector<std::pair<at::ScalarType, double>> kLayerNormTolerances{
    {at::kDouble, 1e-13}, {at::kFloat, 2e-6}, {at::kBFloat16, 0x1p-5}, {at::kHalf, 0x1p-8}};

/// The op on {x, weight, bias}; the last ones are optional.
template <typename Op>
test::Differentiable of_inputs(Op op) {
  return [op](const Inputs& in) {
    const auto part = [&in](size_t i) { return in.size() > i ? std::optional(in[i]) : std::nullopt; };
    return op(in[0], part(1), part(2), 1e-3);
  };
}

TEST(LayerNorm, EqualsTheReferenceWithItsGradients) {
  for (const auto& [rows, dim] : std::vector<std::array<int64_t, 2>>{{5, 7}, {3, 16}, {1, 3}, {2, 37}}) {
    const Tensor x = normal({rows, dim}, 1) * 2 + 5, weight = normal({dim}, 2), bias = normal({dim}, 3);
    const std::vector<Inputs> cases{{x.clone().requires_grad_(true)},
                                    {x.clone().requires_grad_(true), weight},
                                    {x.clone().requires_grad_(true), weight, bias},
                                    {x, weight.clone().requires_grad_(true), bias.clone().requires_grad_(true)}};
    for (const Inputs& inputs : cases) {
      const std::string what = std::to_string(rows) + " x " + std::to_string(dim) + ", " + std::to_string(inputs.size()) + " inputs";
      test::expect_gradients(of_inputs(layer_norm), inputs, 1e-5, 1e-7, what);
      for (const auto& [type, tolerance] : kLayerNormTolerances) {
        Inputs typed;
        for (const Tensor& input : inputs) {
          typed.push_back(input.detach().to(type).requires_grad_(input.requires_grad()));
        }
        test::expect_same_as_reference(of_inputs(layer_norm), of_inputs(layer_norm_reference), typed, tolerance,
                                       what + " " + c10::toString(type));
      }
    }
  }
}

TEST(LayerNorm, TakesHeadsRowsThatAreNotNeighboursAndNoRows) {
  const Tensor wide = normal({4, 12}, 1), weight = normal({6}, 2), heads = normal({4, 3, 6}, 3);
  test::expect_close(layer_norm(wide.slice(1, 0, 6), weight, {}, 1e-3), layer_norm_reference(wide.slice(1, 0, 6), weight, {}, 1e-3), 1e-13);
  test::expect_close(layer_norm(heads, weight, weight, 1e-3), layer_norm_reference(heads, weight, weight, 1e-3), 1e-13);
  EXPECT_EQ(layer_norm(at::empty({0, 6}, at::kDouble), weight, {}, 1e-3).size(0), 0);
}

}  // namespace
}  // namespace lora::ops
