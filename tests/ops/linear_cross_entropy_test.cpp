#include "lora/ops/linear_cross_entropy.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "support/gradients.h"
#include "support/tensors.h"

namespace lora::ops {
namespace {

using test::expect_close;
using test::expect_equal;
using test::normal;
using test::trained;

Tensor labels_of(int64_t rows, int64_t vocabulary) {
  return (at::arange(rows, at::kLong) * 7919 + 3).remainder(vocabulary);
}

TEST(LinearCrossEntropy, Float64EqualsCentralDifferencesAndTheReference) {
  const int64_t rows = 6, dim = 4, vocabulary = 9;
  const Tensor labels = labels_of(rows, vocabulary);
  for (const bool train_head : {false, true}) {
    for (const bool has_bias : {false, true}) {
      std::vector<Tensor> inputs{normal({rows, dim}, 1).requires_grad_(true), normal({vocabulary, dim}, 2).requires_grad_(train_head)};
      if (has_bias) {
        inputs.push_back(normal({vocabulary}, 3).requires_grad_(train_head));
      }
      const auto bind = [&](auto op) {
        return [&labels, op](const std::vector<Tensor>& in) {
          return op(in[0], in[1], in.size() > 2 ? std::optional(in[2]) : std::nullopt, labels);
        };
      };
      const std::string what = std::string(train_head ? "trained" : "frozen") + (has_bias ? " with bias" : "");
      test::expect_gradients(bind(linear_cross_entropy), inputs, 1e-5, 1e-8, what);
      test::expect_same_as_reference(bind(linear_cross_entropy), bind(linear_cross_entropy_reference), inputs, 1e-13, what);
    }
  }
}

TEST(LinearCrossEntropy, SeveralChunksOfALargeVocabulary) {
  // 2^24 / 2^19 = 32 rows per chunk: two full chunks and a partial one.
  const int64_t rows = 70, dim = 3, vocabulary = int64_t{1} << 19;
  const Tensor labels = labels_of(rows, vocabulary);
  const Tensor h = trained(normal({rows, dim}, 1, at::kFloat)), W = trained(normal({vocabulary, dim}, 2, at::kFloat)),
               b = trained(normal({vocabulary}, 3, at::kFloat));
  const Tensor loss = linear_cross_entropy(h, W, b, labels);
  (loss * 0.25).backward();
  // In float64: over half a million terms ATen's own float32 softmax is 5e-5 off.
  const Tensor h2 = trained(h.to(at::kDouble)), W2 = trained(W.to(at::kDouble)), b2 = trained(b.to(at::kDouble));
  const Tensor expected = linear_cross_entropy_reference(h2, W2, b2, labels);
  (expected * 0.25).backward();
  EXPECT_NEAR(loss.item<double>() / expected.item<double>(), 1.0, 1e-6);
  expect_close(h.grad(), h2.grad(), 1e-5, "h");
  expect_close(W.grad(), W2.grad(), 1e-5, "W");
  expect_close(b.grad(), b2.grad(), 1e-5, "b");
  // Evaluation: the same losses individually, in chunks too.
  const TokenScores scores =
      chunked_token_scores(h, labels, vocabulary, [&](const Tensor& h_CD, int64_t) { return at::addmm(b, h_CD, W.t()); });
  const Tensor each = scores.loss_S;
  EXPECT_TRUE(at::equal(scores.correct_S, at::addmm(b, h, W.t()).argmax(1).eq(labels)));
  EXPECT_EQ(each.sizes(), at::IntArrayRef({rows}));
  EXPECT_FALSE(each.requires_grad());
  EXPECT_NEAR(each.sum(at::kDouble).item<double>() / expected.item<double>(), 1.0, 1e-6);
  const Tensor last = linear_cross_entropy_reference(h.slice(0, rows - 1), W, b, labels.slice(0, rows - 1));
  EXPECT_NEAR(each[rows - 1].item<double>(), last.item<double>(), 1e-5);
}

TEST(LinearCrossEntropy, HalfPrecisionIsCloseAndNotScaledByARoundedFactor) {
  const int64_t rows = 40, dim = 24, vocabulary = 60;
  const Tensor labels = labels_of(rows, vocabulary);
  for (const at::ScalarType half : {at::kBFloat16, at::kHalf}) {
    const Tensor h = trained(normal({rows, dim}, 1, half)), W = normal({vocabulary, dim}, 2, half) * 0.2;
    const Tensor loss = linear_cross_entropy(h, W, std::nullopt, labels);
    EXPECT_EQ(loss.scalar_type(), at::kFloat);
    loss.backward();
    EXPECT_EQ(h.grad().scalar_type(), half);

    const Tensor wide = trained(h.detach().to(at::kDouble));
    const Tensor exact = linear_cross_entropy_reference(wide, W.to(at::kDouble), std::nullopt, labels);
    exact.backward();
    const double unit = half == at::kBFloat16 ? 0x1p-8 : 0x1p-11;
    EXPECT_NEAR(loss.item<double>() / exact.item<double>(), 1.0, unit);
    expect_close(h.grad(), wide.grad(), 4 * unit);

    // 1.0039 rounds to 1 in bfloat16: if the factor were rounded before it is applied, every element would be off by 0.4 %.
    const Tensor scaled = trained(h);
    (linear_cross_entropy(scaled, W, std::nullopt, labels) * 1.0039).backward();
    expect_equal(scaled.grad(), (h.grad().to(at::kFloat) * 1.0039).to(half));
  }
}

TEST(LinearCrossEntropy, Float16KeepsSmallProbabilitiesOfALargeVocabulary) {
  // Four million equal logits: each probability is 2.5e-7, in float16 a subnormal with an error of 4.7 %. Half of dh is the sum
  // of all of them; the labelled row is the other half.
  const int64_t vocabulary = 4'000'037, dim = 2;
  const Tensor labels = at::zeros({2}, at::kLong);
  const Tensor W = at::full({vocabulary, dim}, 0.75);
  W[0].fill_(-0.75);
  const Tensor h = trained(at::zeros({2, dim}, at::kHalf));
  linear_cross_entropy(h, W.to(at::kHalf), {}, labels).backward(at::full({}, 64.0));
  expect_close(h.grad().to(at::kFloat), at::full({2, dim}, 64 * 1.5), 1e-2, "dh");
}

TEST(LinearCrossEntropy, NothingSupervisedIsNoLoss) {
  const Tensor h = trained(at::empty({0, 4}, at::kFloat));
  const Tensor W = normal({9, 4}, 2, at::kFloat);
  const Tensor none = at::empty({0}, at::kLong);
  const Tensor loss = linear_cross_entropy(h, W, std::nullopt, none);
  EXPECT_EQ(loss.item<double>(), 0.0);
  loss.backward();
  EXPECT_EQ(chunked_token_scores(h, none, 9, [&](const Tensor& h_CD, int64_t) { return h_CD.mm(W.t()); }).loss_S.numel(), 0);
}

/// A head with a low-rank pair: its logits depend on h, A and B.
Tensor adapted_logits(const Tensor& h, const Tensor& W, const Tensor& A, const Tensor& B) {
  return h.mm(W.t()) + h.mm(A.t()).mm(B.t());
}

TEST(ChunkedCrossEntropy, Float64EqualsCentralDifferences) {
  const int64_t rows = 6, dim = 4, vocabulary = 9;
  const Tensor labels = labels_of(rows, vocabulary), W = normal({vocabulary, dim}, 2);
  for (const bool train_hidden : {true, false}) {
    const std::vector<Tensor> inputs{normal({rows, dim}, 1).requires_grad_(train_hidden), trained(normal({2, dim}, 3)),
                                     trained(normal({vocabulary, 2}, 4))};
    const auto loss = [&](const std::vector<Tensor>& in) {
      return chunked_cross_entropy(in[0], labels, vocabulary, {in[1], in[2]},
                                   [&](const Tensor& h_CD, int64_t) { return adapted_logits(h_CD, W, in[1], in[2]); });
    };
    test::expect_gradients(loss, inputs, 1e-5, 1e-8);
    test::expect_same_as_reference(
        loss,
        [&](const std::vector<Tensor>& in) {
          return at::cross_entropy_loss(adapted_logits(in[0], W, in[1], in[2]), labels, {}, at::Reduction::Sum);
        },
        inputs, 1e-13);
  }
}

TEST(ChunkedCrossEntropy, SeveralChunksAreTheSameAsOneAndKnowWhereTheyBegin) {
  const int64_t rows = 70, dim = 3, vocabulary = int64_t{1} << 19;  // 32 rows per chunk
  const Tensor labels = labels_of(rows, vocabulary), W = normal({vocabulary, dim}, 2, at::kFloat);
  const Tensor h = trained(normal({rows, dim}, 1, at::kFloat)), A = trained(normal({2, dim}, 3, at::kFloat)),
               B = trained(normal({vocabulary, 2}, 4, at::kFloat)), unused = trained(at::ones({2}));
  std::vector<int64_t> begins;
  const Tensor loss = chunked_cross_entropy(h, labels, vocabulary, {A, B, unused}, [&](const Tensor& h_CD, int64_t begin) {
    begins.push_back(begin);
    return adapted_logits(h_CD, W, A, B);
  });
  EXPECT_EQ(begins, (std::vector<int64_t>{0, 32, 64}));
  (loss * 0.25).backward();
  EXPECT_EQ(begins.size(), 3U);  // nothing is recomputed in backward
  const Tensor h2 = trained(h), A2 = trained(A), B2 = trained(B);
  const Tensor expected = at::cross_entropy_loss(adapted_logits(h2, W, A2, B2), labels, {}, at::Reduction::Sum);
  (expected * 0.25).backward();
  EXPECT_NEAR(loss.item<double>() / expected.item<double>(), 1.0, 1e-6);
  expect_close(h.grad(), h2.grad(), 1e-5, "h");
  expect_close(A.grad(), A2.grad(), 1e-5, "A");
  expect_close(B.grad(), B2.grad(), 1e-5, "B");
  EXPECT_EQ(unused.grad().abs().max().item<double>(), 0.0);
}

TEST(LinearCrossEntropy, AFrozenHeadGetsNoGradient) {
  const Tensor h = trained(normal({5, 4}, 1, at::kFloat)), W = normal({9, 4}, 2, at::kFloat);
  linear_cross_entropy(h, W, std::nullopt, labels_of(5, 9)).backward();
  EXPECT_TRUE(h.grad().defined());
  EXPECT_FALSE(W.grad().defined());
}

TEST(LinearCrossEntropy, RowsWithoutATargetHaveNeitherLossNorGradient) {
  for (const at::ScalarType type : {at::kFloat, at::kDouble, at::kBFloat16, at::kHalf}) {
    const Tensor W = normal({11, 6}, 1).to(type), h = normal({5, 6}, 2).to(type).requires_grad_(true);
    const Tensor labels = at::tensor({3, -100, 7, -100, 0}, at::kLong), rows = at::tensor({0, 2, 4}, at::kLong);
    const Tensor loss = linear_cross_entropy(h, W, std::nullopt, labels);
    loss.backward();
    const Tensor some = h.detach().index_select(0, rows).requires_grad_(true);
    const Tensor expected = linear_cross_entropy(some, W, std::nullopt, labels.index_select(0, rows));
    expected.backward();
    expect_close(loss.detach(), expected.detach(), 1e-6);
    expect_close(h.grad().index_select(0, rows), some.grad(), type == at::kFloat || type == at::kDouble ? 1e-6 : 1e-2);
    EXPECT_EQ(h.grad().abs().sum(1).count_nonzero().item<int64_t>(), 3);
  }
}

/// The same loss of each position with all logits at once.
Tensor token_losses_reference(const Tensor& logits_SV, const Tensor& labels_S) {
  return at::cross_entropy_loss(logits_SV, labels_S, {}, at::Reduction::None);
}

TEST(TokenLosses, Float64EqualsCentralDifferencesAndTheReference) {
  const int64_t rows = 6, dim = 4, vocabulary = 9;
  const Tensor labels = labels_of(rows, vocabulary);
  labels[2] = -100;
  for (const bool train_head : {false, true}) {
    const std::vector<Tensor> inputs{normal({rows, dim}, 1).requires_grad_(true), normal({vocabulary, dim}, 2).requires_grad_(train_head),
                                     normal({vocabulary}, 3).requires_grad_(train_head)};
    const auto losses = [&](const std::vector<Tensor>& in) { return linear_token_losses(in[0], in[1], in[2], labels); };
    const auto reference = [&](const std::vector<Tensor>& in) { return token_losses_reference(at::linear(in[0], in[1], in[2]), labels); };
    test::expect_gradients(losses, inputs, 1e-5, 1e-8, train_head ? "trained" : "frozen");
    test::expect_same_as_reference(losses, reference, inputs, 1e-13, train_head ? "trained" : "frozen");
  }
  for (const bool train_hidden : {true, false}) {
    const Tensor W = normal({vocabulary, dim}, 2);
    const std::vector<Tensor> inputs{normal({rows, dim}, 1).requires_grad_(train_hidden), trained(normal({2, dim}, 3)),
                                     trained(normal({vocabulary, 2}, 4))};
    const auto losses = [&](const std::vector<Tensor>& in) {
      return chunked_token_losses(in[0], labels, vocabulary, {in[1], in[2]},
                                  [W, in](const Tensor& h_CD, int64_t) { return adapted_logits(h_CD, W, in[1], in[2]); });
    };
    const auto reference = [&](const std::vector<Tensor>& in) {
      return token_losses_reference(adapted_logits(in[0], W, in[1], in[2]), labels);
    };
    test::expect_gradients(losses, inputs, 1e-5, 1e-8, "adapted");
    test::expect_same_as_reference(losses, reference, inputs, 1e-13, "adapted");
  }
}

TEST(TokenLosses, SeveralChunksAreTheTermsOfTheSum) {
  const int64_t rows = 70, dim = 3, vocabulary = int64_t{1} << 19;  // 32 rows per chunk
  const Tensor labels = labels_of(rows, vocabulary), W = normal({vocabulary, dim}, 2, at::kFloat);
  for (const bool train_head : {false, true}) {
    const Tensor h = trained(normal({rows, dim}, 1, at::kFloat)), own_W = W.clone().requires_grad_(train_head);
    const Tensor loss_S = linear_token_losses(h, own_W, std::nullopt, labels);
    EXPECT_EQ(loss_S.sizes(), at::IntArrayRef({rows}));
    loss_S.sum().backward();
    const Tensor h2 = trained(h), W2 = W.clone().requires_grad_(train_head);
    const Tensor sum = linear_cross_entropy(h2, W2, std::nullopt, labels);
    sum.backward();
    EXPECT_NEAR(loss_S.sum(at::kDouble).item<double>() / sum.item<double>(), 1.0, 1e-6);
    const double tolerance = train_head ? 1e-4 : 1e-5;  // over half a million terms ATen's own float32 softmax is 5e-5 off
    expect_close(h.grad(), h2.grad(), tolerance, "h");
    if (train_head) {
      expect_close(own_W.grad(), W2.grad(), tolerance, "W");
    }
  }
}

TEST(TokenLosses, HalfPrecisionIsNotScaledByARoundedFactor) {
  const Tensor labels = labels_of(40, 60);
  for (const at::ScalarType half : {at::kBFloat16, at::kHalf}) {
    const Tensor h = trained(normal({40, 24}, 1, half)), W = normal({60, 24}, 2, half) * 0.2;
    linear_cross_entropy(h, W, std::nullopt, labels).backward();
    const Tensor scaled = trained(h);
    const Tensor loss_S = linear_token_losses(scaled, W, std::nullopt, labels);
    EXPECT_EQ(loss_S.scalar_type(), at::kFloat);
    expect_equal(linear_token_losses(h.detach(), W, std::nullopt, labels), loss_S.detach(), "without a gradient");
    (loss_S * 1.0039).sum().backward();
    expect_equal(scaled.grad(), (h.grad().to(at::kFloat) * 1.0039).to(half));
  }
}

}  // namespace
}  // namespace lora::ops
