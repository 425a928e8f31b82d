// The ops between the projections: rms_norm, rotary_embedding, gated_activation, each compared with its reference.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <array>

#include "lora/ops/gated_activation.h"
#include "lora/ops/rms_norm.h"
#include "lora/ops/rotary.h"
#include "ops/cpu/elements.h"
#include "support/gradients.h"
#include "support/tensors.h"

namespace lora::ops {
namespace {

using test::expect_close;
using test::normal;
using Inputs = std::vector<Tensor>;

/// The difference that a dtype's own rounding may cause, relative to the largest magnitude.
const std::vector<std::pair<at::ScalarType, double>> kElementwiseTolerances{
    {at::kDouble, 1e-13}, {at::kFloat, 2e-6}, {at::kBFloat16, 0x1p-7}, {at::kHalf, 0x1p-9}};

/// An op in float64 compared with central differences, and in every dtype with its reference.
void expect_op(const test::Differentiable& op, const test::Differentiable& reference, const Inputs& inputs, const std::string& what) {
  test::expect_gradients(op, inputs, 1e-5, 1e-8, what);
  for (const auto& [type, tolerance] : kElementwiseTolerances) {
    Inputs typed;
    for (const Tensor& input : inputs) {
      typed.push_back(input.detach().to(type).requires_grad_(input.requires_grad()));
    }
    test::expect_same_as_reference(op, reference, typed, tolerance, what + " " + c10::toString(type));
  }
}

TEST(RmsNorm, EqualsTheReferenceWithItsGradients) {
  const auto bind = [](auto op) { return [op](const Inputs& in) { return op(in[0], in[1], 1e-3, NormWeight::kPlain); }; };
  for (const auto& [rows, dim] : std::vector<std::array<int64_t, 2>>{{5, 7}, {3, 16}, {1, 3}, {2, 37}}) {
    for (const bool train_weight : {false, true}) {
      const Inputs inputs{normal({rows, dim}, 1).requires_grad_(true), normal({dim}, 2).requires_grad_(train_weight)};
      expect_op(bind(rms_norm), bind(rms_norm_reference), inputs, std::to_string(rows) + " x " + std::to_string(dim));
    }
  }
  // Rows that are not adjacent, no rows, and a frozen input.
  const Tensor wide = normal({4, 12}, 1), weight = normal({6}, 2);
  expect_close(rms_norm(wide.slice(1, 0, 6), weight, 1e-3), rms_norm_reference(wide.slice(1, 0, 6), weight, 1e-3), 1e-13);
  EXPECT_EQ(rms_norm(at::empty({0, 6}, at::kDouble), weight, 1e-3).size(0), 0);
  const Inputs weight_alone{normal({4, 6}, 1), normal({6}, 2).requires_grad_(true)};
  test::expect_gradients(bind(rms_norm), weight_alone, 1e-5, 1e-8);
}

TEST(RmsNorm, OtherFormsEqualTheReferenceWithTheirGradients) {
  for (const NormWeight form : {NormWeight::kOnePlus, NormWeight::kWide}) {
    const auto bind = [form](auto op) { return [op, form](const Inputs& in) { return op(in[0], in[1], 1e-3, form); }; };
    for (const bool train_weight : {false, true}) {
      const Inputs inputs{normal({4, 9}, 1).requires_grad_(true), normal({9}, 2).requires_grad_(train_weight)};
      expect_op(bind(rms_norm), bind(rms_norm_reference), inputs, "form " + std::to_string(static_cast<int64_t>(form)));
    }
  }
  // Both multiply before they round, which shows in half precision.
  const Tensor x = normal({40, 9}, 1, at::kBFloat16), weight = normal({9}, 2, at::kBFloat16);
  EXPECT_FALSE(at::equal(rms_norm(x, weight, 1e-3, NormWeight::kWide), rms_norm(x, weight, 1e-3)));
  test::expect_equal(rms_norm(x, weight - 1, 1e-3, NormWeight::kOnePlus), rms_norm(x, (weight - 1) + 1, 1e-3, NormWeight::kWide));
}

TEST(RotaryEmbedding, EqualsTheReferenceWithItsGradients) {
  for (const int64_t rotated : {8, 4, 2}) {  // all channels, or the first of them
    // Halves that differ: each entry of the tables has its own product.
    const Tensor cos = normal({5, rotated}, 3), sin = normal({5, rotated}, 4);
    const auto tables = [&](const Inputs& in) { return std::pair(cos.to(in[0].scalar_type()), sin.to(in[0].scalar_type())); };
    const auto op = [&](const Inputs& in) {
      const auto [c, s] = tables(in);
      const auto [q, k] = rotary_embedding(in[0], in[1], c, s);
      return at::cat({q, k}, 1);
    };
    const auto reference = [&](const Inputs& in) {
      const auto [c, s] = tables(in);
      return at::cat({rotary_embedding_reference(in[0], c, s), rotary_embedding_reference(in[1], c, s)}, 1);
    };
    expect_op(op, reference, {normal({5, 3, 8}, 1).requires_grad_(true), normal({5, 1, 8}, 2).requires_grad_(true)},
              std::to_string(rotated) + " channels");
  }
}

TEST(GatedActivation, EqualsTheReferenceWithItsGradients) {
  for (const Activation kind : {Activation::kSilu, Activation::kGelu, Activation::kGeluTanh, Activation::kRelu, Activation::kReluSquared}) {
    const auto bind = [kind](auto op) { return [op, kind](const Inputs& in) { return op(kind, in[0], in[1]); }; };
    const Inputs inputs{(normal({7, 9}, 1) * 3).requires_grad_(true), normal({7, 9}, 2).requires_grad_(true)};
    expect_op(bind(gated_activation), bind(gated_activation_reference), inputs, "kind " + std::to_string(static_cast<int>(kind)));
  }
}

TEST(GatedActivation, HoldsAtTheEndsOfTheRange) {
  const Tensor gate = at::tensor({-1e38F, -200.0F, -90.0F, -85.5F, -30.0F, -1e-30F, 0.0F, 1e-30F, 30.0F, 85.5F, 200.0F, 1e38F});
  const Tensor up = at::ones_like(gate);
  for (const Activation kind : {Activation::kSilu, Activation::kGelu, Activation::kGeluTanh}) {
    test::expect_near(gated_activation(kind, gate, up) / gate.abs().clamp_min(1),
                      gated_activation_reference(kind, gate, up) / gate.abs().clamp_min(1), 3e-7, std::to_string(static_cast<int>(kind)));
  }
  EXPECT_TRUE(gated_activation(Activation::kSilu, at::tensor({NAN, 1.0F}), at::ones({2}))[0].isnan().item<bool>());
}

TEST(Elements, HalfTypesAreRoundedAsTorchRoundsThem) {
  // Every 16-bit pattern one way; the other way values around every representable one, and their midpoints.
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto pattern = static_cast<uint16_t>(bits);
    const float bfloat = static_cast<float>(c10::BFloat16(pattern, c10::BFloat16::from_bits()));
    const float half = static_cast<float>(c10::Half(pattern, c10::Half::from_bits()));
    const auto same = [](float a, float b) { return a == b ? std::signbit(a) == std::signbit(b) : std::isnan(a) && std::isnan(b); };
    ASSERT_TRUE(same(cpu::widened(cpu::BFloat16{pattern}), bfloat)) << bits;
    ASSERT_TRUE(same(cpu::widened(cpu::Half{pattern}), half)) << bits;
    for (const uint32_t low : {0U, 1U, 0x0fffU, 0x1000U, 0x1001U, 0x7fffU, 0x8000U, 0x8001U, 0xffffU}) {
      const float x = std::bit_cast<float>(bits << 16 | low);
      if (!std::isnan(x)) {
        ASSERT_EQ(cpu::narrowed<cpu::BFloat16>(x).bits, c10::BFloat16(x).x) << x;
        ASSERT_EQ(cpu::narrowed<cpu::Half>(x).bits, c10::Half(x).x) << x;
      }
    }
  }
  EXPECT_TRUE(std::isnan(cpu::widened(cpu::narrowed<cpu::BFloat16>(NAN))));
  EXPECT_TRUE(std::isnan(cpu::widened(cpu::narrowed<cpu::Half>(NAN))));
}

TEST(Elements, TheExponentialIsWithinTwoUnits) {
  double worst = 0;
  for (int i = -87200; i <= 88200; i += 7) {
    const float x = static_cast<float>(i) / 1000;
    const double exact = std::exp(static_cast<double>(x));
    worst = std::max(worst, std::abs(cpu::exponential(x) - exact) / exact);
  }
  EXPECT_LE(worst, 2 * 0x1p-23);
  EXPECT_EQ(cpu::exponential(0.0F), 1.0F);
  EXPECT_LE(cpu::exponential(-INFINITY), 2e-38F);
  EXPECT_TRUE(std::isnan(cpu::exponential(NAN)));
}

}  // namespace
}  // namespace lora::ops
