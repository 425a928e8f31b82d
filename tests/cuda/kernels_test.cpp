#include "cuda/machines.h"
#include "lora/base/random.h"
#include "lora/ops/gated_activation.h"
#include "lora/ops/rms_norm.h"
#include "lora/ops/rotary.h"

namespace lora::ops {
namespace {

using test::expect_equal;
using test::expect_within;
using test::kKernelTypes;
using test::machine_name;
using test::normal;
using test::trained;

class Kernels : public test::OnMachines {};
LORA_ON_MACHINES(Kernels);

std::string named(at::ScalarType type, std::initializer_list<int64_t> sizes) {
  return c10::str(type, " ", at::IntArrayRef(sizes.begin(), sizes.size()));
}

/// A tolerance in spacings: that of float32, where libraries round differently, and that of the half types, where one unit in the last
/// place may differ.
double tolerance(at::ScalarType type, double of_float, double of_half) {
  return type == at::kFloat ? of_float : of_half;
}

/// nn::RmsNorm, or transformers' GemmaRMSNorm.
struct NormCase {
  at::ScalarType type;
  int64_t rows, dim;
  NormWeight form;
};

/// Forward and backward of one case against autograd on the reference.
void check_rms_norm(const CudaKernels& kernels, const std::function<Tensor(const Tensor&)>& there, const NormCase& c) {
  constexpr double kEps = 1e-5;
  const std::string what = named(c.type, {c.rows, c.dim, static_cast<int64_t>(c.form)});
  const Tensor x = trained(normal({c.rows, c.dim}, 1, c.type)), weight = trained(normal({c.dim}, 2, c.type));
  const Tensor dy = normal({c.rows, c.dim}, 4, c.type);
  const Tensor expected = rms_norm_reference(x, weight, kEps, c.form);
  expected.backward(dy);

  const RmsNormed actual = rms_norm_cuda(kernels, there(x), there(weight), kEps, c.form);
  expect_within(actual.y_TD, expected, tolerance(c.type, 4, 1), what + " y");
  const RmsNormGradients gradients = rms_norm_backward_cuda(kernels, there(dy), there(x), actual.rstd_T, there(weight), c.form, true);
  expect_within(gradients.dx_TD, x.grad(), tolerance(c.type, 8, 1), what + " dx");
  expect_within(gradients.dweight_D, weight.grad(), tolerance(c.type, 16, 1), what + " dweight");
  const RmsNormGradients frozen = rms_norm_backward_cuda(kernels, there(dy), there(x), actual.rstd_T, there(weight), c.form, false);
  expect_equal(frozen.dx_TD, gradients.dx_TD, what);
  EXPECT_FALSE(frozen.dweight_D.defined());
}

TEST_P(Kernels, RmsNormForwardAndBackward) {
  for (const at::ScalarType type : kKernelTypes) {
    for (const auto& [rows, dim] : std::vector<std::pair<int64_t, int64_t>>{{1, 3}, {3, 7}, {9, 64}, {2, 257}, {2, 576}, {1, 4608}}) {
      for (const NormWeight form : {NormWeight::kPlain, NormWeight::kOnePlus}) {
        check_rms_norm(kernels(), copier(), {type, rows, dim, form});
      }
    }
  }
}

TEST_P(Kernels, RopeEqualsItsReferenceBitForBit) {
  struct Case {
    int64_t tokens, heads, kv_heads, head_dim, rotary;
  };
  for (const at::ScalarType type : kKernelTypes) {
    for (const Case& c :
         {Case{1, 1, 1, 2, 2}, {5, 9, 3, 64, 64}, {3, 4, 2, 80, 32}, {4, 3, 1, 18, 18}, {2, 32, 8, 128, 128}, {3, 2, 0, 16, 8}}) {
      const std::string what = named(type, {c.tokens, c.heads, c.kv_heads, c.head_dim, c.rotary});
      // Slices of one projection of queries, keys and values; tables whose halves differ show that each position uses its own entry.
      const int64_t width = (c.heads + 2 * c.kv_heads) * c.head_dim, q_width = c.heads * c.head_dim,
                    k_end = q_width + c.kv_heads * c.head_dim;
      const Tensor fused = trained(normal({c.tokens, width}, 1, type));
      const Tensor cos = normal({c.tokens, c.rotary}, 2, type), sin = normal({c.tokens, c.rotary}, 3, type);
      const auto queries = [&](const Tensor& all) { return all.slice(1, 0, q_width).view({c.tokens, c.heads, c.head_dim}); };
      const auto keys = [&](const Tensor& all) { return all.slice(1, q_width, k_end).view({c.tokens, c.kv_heads, c.head_dim}); };
      const Tensor expected = at::cat({rotary_embedding_reference(queries(fused), cos, sin).flatten(1),
                                       rotary_embedding_reference(keys(fused), cos, sin).flatten(1), fused.slice(1, k_end)},
                                      1);
      const Tensor dy = normal({c.tokens, width}, 4, type);
      expected.backward(dy);

      const auto turned = [&](const Tensor& from, bool backward) {
        const Tensor all = there(from);
        rope_cuda_(kernels(), queries(all), c.kv_heads == 0 ? Tensor() : keys(all), there(cos), there(sin), backward);
        return all.cpu();
      };
      expect_equal(turned(fused, false), expected.detach(), what);
      expect_equal(turned(dy, true), fused.grad(), what + " backward");
    }
  }
}

struct GatedCase {
  at::ScalarType type;
  int64_t rows, columns;
  Activation kind;
};

/// Forward and backward of one case against autograd on the reference.
void check_gated(const CudaKernels& kernels, const std::function<Tensor(const Tensor&)>& there, const GatedCase& c) {
  const std::string what = named(c.type, {c.rows, c.columns, static_cast<int64_t>(c.kind)});
  const double spacings = tolerance(c.type, 8, 1);
  // Both as slices of one projection, including large gates.
  const Tensor both = trained(normal({c.rows, 2 * c.columns}, 1, c.type) * 4);
  const auto half = [&c](const Tensor& all, int64_t which) { return all.slice(1, which * c.columns, (which + 1) * c.columns); };
  const Tensor expected = activation(c.kind, half(both, 0)) * half(both, 1);
  const Tensor dproduct = normal({c.rows, c.columns}, 2, c.type);
  expected.backward(dproduct);

  const Tensor inputs = there(both);
  expect_within(gated_activation_cuda(kernels, c.kind, half(inputs, 0), half(inputs, 1)), expected, spacings, what);
  const GatedGradients actual = gated_activation_backward_cuda(kernels, c.kind, half(inputs, 0), half(inputs, 1), there(dproduct));
  expect_within(actual.dgate_TF, half(both.grad(), 0), spacings, what + " dgate");
  expect_within(actual.dup_TF, half(both.grad(), 1), spacings, what + " dup");
}

TEST_P(Kernels, GatedActivationForwardAndBackward) {
  for (const at::ScalarType type : kKernelTypes) {
    for (const auto& [rows, columns] : std::vector<std::pair<int64_t, int64_t>>{{1, 1}, {3, 7}, {2, 96}, {5, 1536}, {2, 4104}}) {
      for (const Activation kind :
           {Activation::kSilu, Activation::kGeluTanh, Activation::kGelu, Activation::kRelu, Activation::kReluSquared}) {
        check_gated(kernels(), copier(), {type, rows, columns, kind});
      }
    }
  }
}

struct LossAndGradient {
  Tensor loss, gradient;
};

/// The composed form: loss and softmax in float32, the gradient rounded at the end.
LossAndGradient cross_entropy_reference(const Tensor& logits, const Tensor& labels, double scale) {
  const Tensor wide = trained(logits.to(at::kFloat));
  const Tensor loss = at::cross_entropy_loss(wide, labels, {}, at::Reduction::Sum);
  loss.backward();
  return {loss.detach(), (wide.grad() * scale).to(logits.scalar_type())};
}

TEST_P(Kernels, CrossEntropyAndItsGradient) {
  for (const at::ScalarType type : kKernelTypes) {
    for (const auto& [rows, vocab] :
         std::vector<std::pair<int64_t, int64_t>>{{1, 1}, {6, 7}, {5, 32}, {3, 257}, {7, 1000}, {2, 9000}, {2, 50257}}) {
      for (const double scale : {1.0, 1024.0}) {
        const std::string what = named(type, {rows, vocab, static_cast<int64_t>(scale)});
        const Tensor logits = normal({rows, vocab}, 1, type) * 3;
        const Tensor labels = at::arange(rows) * 7919 % vocab;
        if (rows > 4) {
          labels[2] = -100;                          // not supervised
          logits[3].fill_(-INFINITY);                // a masked vocabulary …
          logits[3][labels[3].item<int64_t>()] = 2;  // … but for the label
          logits[4].mul_(1000);                      // far apart
        }
        const LossAndGradient expected = cross_entropy_reference(logits, labels, scale);
        const Tensor actual = there(logits);
        const Tensor loss_C = cross_entropy_cuda_(kernels(), actual, there(labels), scale), loss = loss_C.sum();
        EXPECT_EQ(loss_C.sizes(), labels.sizes());
        EXPECT_NEAR(loss.item<double>(), expected.loss.item<double>(), 2e-6 * std::abs(expected.loss.item<double>()) + 1e-6) << what;
        // The reference's exp(log_softmax) has the rounding errors of a difference of large numbers.
        expect_within(actual, expected.gradient, tolerance(type, 32, 1), what);
        const Tensor again = there(logits);
        expect_equal(cross_entropy_cuda_(kernels(), again, there(labels), scale), loss_C, what + " again");
        expect_equal(again, actual, what + " again");
      }
    }
  }
}

TEST_P(Kernels, CrossEntropyOfBrokenRowsIsNotFinite) {
  const Tensor labels = there(at::tensor({1, 2}, at::kLong));
  for (const int64_t vocab : {7, 512}) {
    for (const float poison : {static_cast<float>(NAN), static_cast<float>(INFINITY)}) {
      const Tensor logits = normal({2, vocab}, 1, at::kFloat);
      logits[0][vocab - 1] = poison;
      EXPECT_FALSE(std::isfinite(cross_entropy_cuda_(kernels(), there(logits), labels, 1).sum().item<float>()));
    }
    EXPECT_FALSE(
        std::isfinite(cross_entropy_cuda_(kernels(), there(at::full({2, vocab}, -INFINITY, at::kFloat)), labels, 1).sum().item<float>()));
    const Tensor beyond = there(at::tensor({vocab, int64_t{0}}, at::kLong));
    EXPECT_TRUE(std::isnan(cross_entropy_cuda_(kernels(), there(at::zeros({2, vocab})), beyond, 1).sum().item<float>()));
  }
}

Tensor row_keys(int64_t tokens) {
  std::vector<int64_t> keys;
  CounterRandom random(5);
  for (int64_t t = 0; t < tokens; ++t) {
    keys.push_back(static_cast<int64_t>(random.next()));
  }
  return at::tensor(keys, at::kLong);
}

TEST_P(Kernels, DropoutEqualsTheCpuBitForBit) {
  for (const at::ScalarType type : kKernelTypes) {
    for (const int64_t channels : {1, 2, 7, 64, 129, 576, 4096}) {
      for (const double p : {0.1, 0.5, 0.93}) {
        const Tensor x = normal({13, channels}, 3, type);
        const DropoutDraw draw{row_keys(13), hash_name("model.layers.0.self_attn.q_proj"), p};
        const Tensor actual = dropout_cuda(kernels(), there(x), {there(draw.row_keys_T), draw.site_key, p});
        expect_equal(actual.cpu(), dropout(x, draw), named(type, {channels}));
      }
    }
  }
}

/// The same values starting at the second element of a larger tensor, where packs are not aligned.
Tensor misaligned(const Tensor& tensor) {
  const Tensor larger = at::empty({tensor.numel() + 1}, tensor.options());
  return larger.slice(0, 1).copy_(tensor.view(-1)).view(tensor.sizes());
}

TEST_P(Kernels, TensorsMayBeginAnywhere) {
  for (const at::ScalarType type : kKernelTypes) {
    const Tensor x = there(normal({5, 64}, 1, type)), weight = there(normal({64}, 2, type)), labels = there(at::arange(5));
    const RmsNormed normed = rms_norm_cuda(kernels(), x, weight, 1e-5);
    expect_within(rms_norm_cuda(kernels(), misaligned(x), weight, 1e-5).y_TD, normed.y_TD.cpu(), 1, "x");
    expect_within(rms_norm_cuda(kernels(), x, misaligned(weight), 1e-5).y_TD, normed.y_TD.cpu(), 1, "weight");
    const Tensor product = gated_activation_cuda(kernels(), Activation::kSilu, x, x);
    expect_equal(gated_activation_cuda(kernels(), Activation::kSilu, x, misaligned(x)), product);
    const DropoutDraw draw{there(row_keys(5)), 3, 0.5};
    expect_equal(dropout_cuda(kernels(), misaligned(x), draw), dropout_cuda(kernels(), x, draw));
    const Tensor aligned_q = x.clone().view({5, 2, 32}), q = misaligned(aligned_q), table = x.slice(1, 0, 32).contiguous();
    rope_cuda_(kernels(), aligned_q, Tensor(), table, table, false);
    rope_cuda_(kernels(), q, Tensor(), table, table, false);
    expect_equal(q, aligned_q);
    const Tensor logits = misaligned(x);
    const LossAndGradient expected = cross_entropy_reference(x.cpu(), labels.cpu(), 1);
    EXPECT_NEAR(cross_entropy_cuda_(kernels(), logits, labels, 1).sum().item<float>(), expected.loss.item<float>(), 1e-4);
    expect_within(logits, expected.gradient, tolerance(type, 32, 1), "logits");
  }
}

TEST_P(Kernels, NoTokensAreNoWork) {
  const Tensor none = there(at::zeros({0, 8})), weight = there(at::ones({8}));
  const RmsNormed normed = rms_norm_cuda(kernels(), none, weight, 1e-5);
  EXPECT_EQ(normed.y_TD.sizes(), none.sizes());
  const RmsNormGradients gradients = rms_norm_backward_cuda(kernels(), none, none, normed.rstd_T, weight, NormWeight::kPlain, true);
  expect_equal(gradients.dweight_D.cpu(), at::zeros({8}));
  rope_cuda_(kernels(), none.view({0, 2, 4}), Tensor(), there(at::zeros({0, 4})), there(at::zeros({0, 4})), false);
  EXPECT_EQ(gated_activation_cuda(kernels(), Activation::kSilu, none, none).numel(), 0);
  EXPECT_EQ(gated_activation_backward_cuda(kernels(), Activation::kSilu, none, none, none).dup_TF.numel(), 0);
  EXPECT_EQ(cross_entropy_cuda_(kernels(), none, there(at::zeros({0}, at::kLong)), 1).sum().item<float>(), 0);
  EXPECT_EQ(dropout_cuda(kernels(), none, {there(at::zeros({0}, at::kLong)), 1, 0.5}).numel(), 0);
}

TEST_P(Kernels, RefuseTensorsThatTheyWouldMisread) {
  const Tensor x = there(normal({4, 8}, 1, at::kFloat)), weight = there(at::ones({8}));
  EXPECT_THROW(rms_norm_cuda(kernels(), x.to(at::kDouble), weight.to(at::kDouble), 1e-5), c10::Error);
  EXPECT_THROW(rms_norm_cuda(kernels(), x, weight.to(at::kHalf), 1e-5), c10::Error);
  EXPECT_THROW(rms_norm_cuda(kernels(), x.slice(1, 0, 4), weight.slice(0, 0, 4), 1e-5), c10::Error);
  EXPECT_THROW(rope_cuda_(kernels(), x.view({4, 1, 8}), Tensor(), x.slice(0, 0, 3), x.slice(0, 0, 3), false), c10::Error);
  EXPECT_THROW(rope_cuda_(kernels(), x.view({4, 2, 4}), Tensor(), x, x, false), c10::Error);
  EXPECT_THROW(gated_activation_cuda(kernels(), Activation::kSilu, x, x.t()), c10::Error);
  EXPECT_THROW(cross_entropy_cuda_(kernels(), x, there(at::zeros({4}, at::kInt)), 1), c10::Error);
  EXPECT_THROW(dropout_cuda(kernels(), x, {there(at::zeros({3}, at::kLong)), 1, 0.5}), c10::Error);
}

}  // namespace
}  // namespace lora::ops
