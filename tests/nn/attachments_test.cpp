#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <stdexcept>

#include "lora/nn/embedding.h"
#include "lora/nn/linear.h"
#include "lora/nn/rms_norm.h"
#include "small_batch.h"
#include "support/map_source.h"
#include "support/tensors.h"

namespace lora::nn {
namespace {

using test::expect_close;
using test::expect_equal;
using test::MapSource;
using test::normal;
using test::small_batch;
using test::trained;

constexpr int64_t kVocab = 20, kDim = 6, kRank = 2;

LowRank pair(int64_t inputs, int64_t outputs, const std::string& adapter = "default") {
  return {adapter, trained(normal({kRank, inputs}, 20, at::kFloat)), trained(normal({outputs, kRank}, 21, at::kFloat)), 1.5};
}

/// V replacement rows for a table or head of kDim channels.
TokenRows rows_of(const std::vector<int64_t>& ids, const std::string& adapter = "default") {
  return {adapter, at::tensor(ids, at::kLong), trained(normal({static_cast<int64_t>(ids.size()), kDim}, 31, at::kFloat)), kVocab};
}

Tensor summed(const LowRank& a) {
  return a.scale * a.B_OR.mm(a.A_RI);
}

TEST(StandIn, IsUsedInPlaceOfTheBaseWhileItsAdapterIs) {
  MapSource source;
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    Linear linear("a.q_proj", {6, 4, true}, source, type);
    RmsNorm norm("norm", 6, 1e-6, source, type);
    const Tensor x = normal({5, 6}, 9, type), before = linear.weight().clone();
    const Tensor W = trained(normal({4, 6}, 1, at::kFloat)), b = trained(normal({4}, 2, at::kFloat)),
                 w = trained(normal({6}, 3, at::kFloat));
    const Tensor y = linear.forward(x, evaluation_pass(small_batch())), z = norm.forward(x);
    linear.weights()[0].replace("one", W);
    linear.weights()[1].replace("one", b);
    norm.weights()[0].replace("one", w);
    expect_equal(linear.forward(x, evaluation_pass(small_batch())), at::linear(x, W.to(type), b.to(type)));
    EXPECT_TRUE(linear.is_plain());
    EXPECT_EQ(linear.trained().size(), 2U);
    (linear.forward(norm.forward(x), evaluation_pass(small_batch()))).sum().backward();
    for (const Tensor& leaf : {W, b, w}) {
      EXPECT_EQ(leaf.grad().scalar_type(), at::kFloat);
      EXPECT_GT(leaf.grad().abs().max().item<double>(), 0.0);
    }
    for (const char* other : {"", "another"}) {
      linear.use_adapter(other);
      norm.use_adapter(other);
      expect_equal(linear.forward(x, evaluation_pass(small_batch())), y);
      expect_equal(norm.forward(x), z);
    }
    linear.use_adapter("one");
    EXPECT_FALSE(at::equal(linear.forward(x, evaluation_pass(small_batch())), y));
    linear.remove_adapters();
    expect_equal(linear.forward(x, evaluation_pass(small_batch())), y);
    expect_equal(linear.weight(), before);
    EXPECT_EQ(linear.base_parameters()[0].tensor.data_ptr(), linear.weight().data_ptr());
  }
}

TEST(Linear, ComputesDoraBesideOtherPairs) {
  MapSource source;
  Linear linear("a.q_proj", {6, 4, true}, source, at::kFloat);
  const Tensor x = normal({5, 6}, 9, at::kFloat), W = linear.weight(), b = *linear.bias_in_use();
  LowRank dora = pair(6, 4);
  dora.magnitude_O = trained(normal({4}, 22, at::kFloat) + 3);
  linear.attach(dora);
  const Tensor sum = W + summed(dora);
  const Tensor expected = x.mm((sum * (*dora.magnitude_O / sum.norm(2, {1})).unsqueeze(1)).t()) + b;
  expect_close(linear.forward(x, evaluation_pass(small_batch())), expected, 1e-6);
  EXPECT_FALSE(linear.is_plain());
  EXPECT_EQ(linear.trained().size(), 3U);
  LowRank plain = pair(6, 4, "other");
  plain.bias_O = trained(normal({4}, 23, at::kFloat));
  MapSource again;
  Linear reversed("a.q_proj", {6, 4, true}, again, at::kFloat);
  reversed.attach(plain);
  reversed.attach(dora);
  linear.attach(plain);
  const Tensor both = expected + x.mm(summed(plain).t()) + plain.scale * *plain.bias_O;
  expect_close(linear.forward(x, evaluation_pass(small_batch())), both, 1e-6);
  expect_close(reversed.forward(x, evaluation_pass(small_batch())), both, 1e-6);
}

TEST(Embedding, AddsPairsAsATableOfRowsWould) {
  MapSource source;
  Embedding embedding("model.embed_tokens", kVocab, kDim, source, at::kFloat);
  const Tensor ids = at::tensor({3, 0, 3, 19}, at::kLong);
  LowRank lora = pair(kVocab, kDim);
  embedding.attach(lora);
  expect_close(embedding.forward(ids), (embedding.weight() + summed(lora).t()).index_select(0, ids), 1e-6);
  embedding.remove_adapters();
  LowRank dora = pair(kVocab, kDim);
  dora.magnitude_O = trained(normal({kDim}, 22, at::kFloat) + 3);
  embedding.attach(dora);
  const Tensor sum = embedding.weight() + summed(dora).t();
  expect_close(embedding.forward(ids), (sum * (*dora.magnitude_O / sum.norm(2, {0}))).index_select(0, ids), 1e-6);
  embedding.forward(ids).sum().backward();
  EXPECT_TRUE(dora.A_RI.grad().defined() && dora.B_OR.grad().defined() && dora.magnitude_O->grad().defined());
  EXPECT_EQ(dora.A_RI.grad().select(1, 1).abs().max().item<double>(), 0.0);  // a token that is not in the batch
  embedding.use_adapter("");
  expect_equal(embedding.forward(ids), embedding.weight().index_select(0, ids));
  EXPECT_FALSE(embedding.forward(ids).requires_grad());

  MapSource narrow_source;
  Embedding narrow("model.embed_tokens", kVocab, kDim, narrow_source, at::kBFloat16);
  narrow.attach(pair(kVocab, kDim));
  EXPECT_EQ(narrow.forward(ids).scalar_type(), at::kBFloat16);
}

TEST(TokenRows, StandInForRowsOfTheTableAndOfTheHead) {
  MapSource source;
  Embedding embedding("model.embed_tokens", kVocab, kDim, source, at::kFloat);
  Linear head("lm_head", {kDim, kVocab, true}, source, at::kFloat);
  const TokenRows rows = rows_of({7, 3});
  embedding.attach(rows);
  head.attach(rows);
  const Tensor ids = at::tensor({3, 0, 7, 3}, at::kLong), x = normal({4, kDim}, 9, at::kFloat);
  const Tensor table = embedding.weight().index_copy(0, rows.ids_N, rows.rows_ND);
  const Tensor weight = head.weight().index_copy(0, rows.ids_N, rows.rows_ND);
  expect_equal(embedding.forward(ids), table.index_select(0, ids));
  expect_close(head.forward(x, evaluation_pass(small_batch())), at::linear(x, weight, *head.bias_in_use()), 1e-6);
  EXPECT_FALSE(head.is_plain());
  EXPECT_EQ(head.trained().size(), 1U);

  const Tensor probe = normal({4, kDim}, 10, at::kFloat), logits_probe = normal({4, kVocab}, 11, at::kFloat);
  ((embedding.forward(ids) * probe).sum() + (head.forward(x, evaluation_pass(small_batch())) * logits_probe).sum()).backward();
  const Tensor of_table = at::stack({probe[2], probe[0] + probe[3]});
  expect_close(rows.rows_ND.grad(), of_table + logits_probe.t().index_select(0, rows.ids_N).mm(x), 1e-6);
  embedding.use_adapter("");
  head.use_adapter("");
  expect_equal(embedding.forward(ids), embedding.weight().index_select(0, ids));
  EXPECT_TRUE(head.is_plain());
}

TEST(LowRank, ReplacesTheWeightByOneWithTheSameResult) {
  const Tensor x = normal({5, 6}, 9, at::kFloat), W = normal({4, 6}, 1, at::kFloat);
  for (const WeightLayout layout : {WeightLayout::kOutIn, WeightLayout::kInOut}) {
    const Tensor stored = layout == WeightLayout::kOutIn ? W : W.t().contiguous();
    const auto weight = std::make_shared<const ops::DenseWeight>(stored, layout);
    LowRank plain = pair(6, 4);
    expect_close(plain.applied_to(weight), W + summed(plain), 1e-6);
    plain.magnitude_O = trained(normal({4}, 22, at::kFloat) + 3);
    const Tensor sum = W + summed(plain);
    expect_close(plain.applied_to(weight), sum * (*plain.magnitude_O / sum.norm(2, {1})).unsqueeze(1), 1e-6);
  }
}

/// y = 2 y + x: another kind of attachment than the ones that exist.
struct Doubled : Attachment {
  using Attachment::Attachment;
  std::vector<Tensor> tensors() const override { return {}; }
  Kept kept(int64_t out_features) const override { return {3 * out_features, 0}; }
  Tensor project(const ProjectionCall& call, const Tensor& y_TO) const override {
    return (y_TO.defined() ? y_TO : call.base()) * 2 + call.x_TI.slice(1, 0, call.weight->out_features());
  }
};

TEST(Attachment, OfAnyKindTakesPartInTheOrderOfTheList) {
  MapSource source;
  Linear linear("a.q_proj", {6, 4, true}, source, at::kFloat);
  const Tensor x = normal({5, 6}, 9, at::kFloat), base = x.mm(linear.weight().t()) + *linear.bias_in_use();
  const LowRank low = pair(6, 4);
  linear.attach(low);
  linear.attach(Doubled("default"));
  const Tensor expected = (base + x.mm(summed(low).t())) * 2 + x.slice(1, 0, 4);
  expect_close(linear.forward(x, evaluation_pass(small_batch())), expected, 1e-6);
  expect_close(project(x, {&linear}, evaluation_pass(small_batch())).front(), expected, 1e-6);
  EXPECT_EQ(linear.attached<Doubled>().size(), 1U);
  EXPECT_EQ(kept_by_project({&linear}).elements, 3 * 4 + 6);
  linear.use_adapter("");
  expect_close(linear.forward(x, evaluation_pass(small_batch())), base, 1e-6);
  Embedding embedding("model.embed_tokens", kVocab, kDim, source, at::kFloat);
  embedding.attach(Doubled("default"));
  EXPECT_THROW(embedding.forward(at::tensor({1}, at::kLong)), std::logic_error);
}

TEST(RowNorms, AreKeptWithoutGradientsAndAnewWithThem) {
  const Tensor W = normal({4, 6}, 1, at::kFloat);
  const auto weight = std::make_shared<const ops::DenseWeight>(W);
  LowRank a = pair(6, 4);
  const auto exact = [&] { return (W + summed(a)).norm(2, {1}).detach(); };
  const auto kept = [&] { return a.norms.kept(weight, a.A_RI, a.B_OR, a.scale); };
  const auto change = [](const Tensor& tensor, double factor) {
    const at::NoGradGuard no_grad;
    tensor.mul_(factor);
  };
  const Tensor first = kept();
  expect_close(first, exact(), 1e-6);
  EXPECT_TRUE(kept().is_same(first));
  change(a.B_OR, 2);
  EXPECT_TRUE(kept().is_same(first));
  expect_close(a.norms.computed(weight, a.A_RI, a.B_OR, a.scale), exact(), 1e-6);
  trained_weights_changed();
  expect_close(kept(), exact(), 1e-6);
  change(W, 3);
  base_weights_changed();
  expect_close(kept(), exact(), 1e-6);
  a.scale *= 2;
  expect_close(kept(), exact(), 1e-6);
  // Another weight is in use.
  const auto other = std::make_shared<const ops::DenseWeight>(normal({4, 6}, 5, at::kFloat));
  expect_close(a.norms.kept(other, a.A_RI, a.B_OR, a.scale), (other->dequantised() + summed(a)).norm(2, {1}), 1e-6);
  expect_close(kept(), exact(), 1e-6);
}

TEST(RowNorms, OfAReplacedWeightAreItsOwn) {
  MapSource source;
  Linear linear("a.q_proj", {6, 4}, source, at::kFloat);
  const Tensor x = normal({5, 6}, 9, at::kFloat);
  LowRank dora = pair(6, 4);
  dora.magnitude_O = trained(normal({4}, 22, at::kFloat) + 3);
  linear.attach(dora);
  const at::NoGradGuard no_grad;
  linear.forward(x, evaluation_pass(small_batch()));
  const Tensor W = normal({4, 6}, 7, at::kFloat), sum = W + summed(dora);
  linear.weights()[0].replace("default", W);
  expect_close(linear.forward(x, evaluation_pass(small_batch())), x.mm((sum * (*dora.magnitude_O / sum.norm(2, {1})).unsqueeze(1)).t()),
               1e-6);
}

TEST(RowNorms, OfARecomputedTrainingPassAreNotTheKeptOnes) {
  MapSource source;
  Linear linear("a.q_proj", {6, 4}, source, at::kFloat);
  const Tensor x = normal({5, 6}, 9, at::kFloat);
  LowRank dora = pair(6, 4);
  dora.magnitude_O = trained(normal({4}, 22, at::kFloat) + 3);
  linear.attach(dora);
  const at::NoGradGuard no_grad;  // as the forward of a part that is recomputed
  linear.forward(x, evaluation_pass(small_batch()));
  dora.B_OR.mul_(2);
  const Tensor sum = linear.weight() + summed(dora);
  expect_close(linear.forward(x, training_pass(small_batch(), 1, 0)), x.mm((sum * (*dora.magnitude_O / sum.norm(2, {1})).unsqueeze(1)).t()),
               1e-6);
}

}  // namespace
}  // namespace lora::nn
