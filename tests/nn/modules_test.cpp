#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>

#include "lora/base/random.h"
#include "lora/nn/activation.h"
#include "lora/nn/device.h"
#include "lora/nn/dropout.h"
#include "lora/nn/embedding.h"
#include "lora/nn/layer_norm.h"
#include "lora/nn/linear.h"
#include "lora/nn/rms_norm.h"
#include "lora/ops/compiled_products.h"
#include "lora/ops/dropout.h"
#include "lora/ops/gated_activation.h"
#include "small_batch.h"
#include "support/batches.h"
#include "support/expect_error.h"
#include "support/map_source.h"
#include "support/tensors.h"

namespace lora::nn {
namespace {

using test::expect_close;
using test::expect_equal;
using test::MapSource;
using test::normal;
using test::small_batch;

LowRank attachment(const std::string& adapter, uint64_t seed, double scale, double dropout = 0.0) {
  return {adapter, test::trained(normal({2, 6}, seed, at::kFloat)), test::trained(normal({4, 2}, seed + 1, at::kFloat)), scale, dropout};
}

Tensor delta(const Tensor& x, const LowRank& a) {
  return a.scale * x.mm(a.A_RI.t()).mm(a.B_OR.t());
}

std::vector<std::string> names(const std::vector<Parameter>& parameters) {
  std::vector<std::string> all;
  for (const Parameter& parameter : parameters) {
    all.push_back(parameter.name);
  }
  return all;
}

TEST(RmsNorm, EqualsItsFormulaAndRoundsBeforeTheWeight) {
  const Tensor weight = normal({8}, 1, at::kFloat);
  MapSource source({{"norm.weight", weight}});
  const RmsNorm norm("norm", 8, 1e-5, source, at::kFloat);
  const Tensor x = normal({5, 8}, 2, at::kFloat);
  const Tensor wide = x.to(at::kDouble);
  expect_close(norm.forward(x), weight.to(at::kDouble) * wide / (wide.square().mean(-1, true) + 1e-5).sqrt(), 1e-6);
  expect_equal(norm.forward(at::zeros({1, 8}, at::kFloat)), at::zeros({1, 8}, at::kFloat));

  const RmsNorm narrow("norm", 8, 1e-5, source, at::kBFloat16);
  const Tensor y = x.to(at::kBFloat16).to(at::kFloat);
  const Tensor rounded = (y * at::rsqrt(y.square().mean(-1, true) + 1e-5)).to(at::kBFloat16);
  expect_equal(narrow.forward(x.to(at::kBFloat16)), weight.to(at::kBFloat16) * rounded);
  ASSERT_EQ(names(norm.base_parameters()), (std::vector<std::string>{"norm.weight"}));
  EXPECT_FALSE(norm.base_parameters()[0].weight_decay);
}

TEST(LayerNorm, EqualsItsFormulaWithAndWithoutABias) {
  const Tensor weight = normal({8}, 1, at::kFloat), bias = normal({8}, 2, at::kFloat);
  MapSource source({{"ln.weight", weight}, {"ln.bias", bias}});
  const LayerNorm norm("ln", {8, 1e-3}, source, at::kFloat), plain("ln", {8, 1e-3, false}, source, at::kFloat);
  const Tensor x = normal({5, 8}, 3, at::kFloat);
  const Tensor centred = x.to(at::kDouble) - x.to(at::kDouble).mean(-1, true);
  const Tensor scaled = weight.to(at::kDouble) * centred / (centred.square().mean(-1, true) + 1e-3).sqrt();
  expect_close(norm.forward(x), scaled + bias.to(at::kDouble), 1e-6);
  expect_close(plain.forward(x), scaled, 1e-6);
  EXPECT_EQ(names(norm.base_parameters()), (std::vector<std::string>{"ln.weight", "ln.bias"}));
  EXPECT_EQ(names(plain.base_parameters()), (std::vector<std::string>{"ln.weight"}));
  EXPECT_FALSE(norm.base_parameters()[0].weight_decay || norm.base_parameters()[1].weight_decay);
  EXPECT_STREQ(norm.kind(), "LayerNorm");
}

TEST(Embedding, GivesRowsByToken) {
  MapSource source;
  const Embedding embedding("model.embed_tokens", 20, 6, source, at::kFloat);
  expect_equal(embedding.forward(at::tensor({3, 0, 3}, at::kLong))[1], embedding.weight()[0]);
  EXPECT_EQ(names(embedding.base_parameters()), (std::vector<std::string>{"model.embed_tokens.weight"}));
  EXPECT_STREQ(embedding.kind(), "Embedding");
}

TEST(Linear, OwnsItsWeightsAndATiedOneDoesNot) {
  MapSource source;
  const Linear plain("a.q_proj", {6, 4}, source, at::kFloat);
  const Linear biased("a.k_proj", {6, 4, true}, source, at::kFloat);
  const Linear tied("lm_head", plain.weight());
  EXPECT_EQ(names(plain.base_parameters()), (std::vector<std::string>{"a.q_proj.weight"}));
  EXPECT_EQ(names(biased.base_parameters()), (std::vector<std::string>{"a.k_proj.weight", "a.k_proj.bias"}));
  EXPECT_TRUE(biased.base_parameters()[0].weight_decay);
  EXPECT_FALSE(biased.base_parameters()[1].weight_decay);
  EXPECT_TRUE(tied.base_parameters().empty());
  EXPECT_TRUE(tied.tied() && !plain.tied());
  EXPECT_EQ(tied.weight().data_ptr(), plain.weight().data_ptr());
  EXPECT_EQ(plain.base_parameters()[0].tensor.data_ptr(), plain.weight().data_ptr());
  EXPECT_EQ(plain.in_features(), 6);
  EXPECT_EQ(plain.out_features(), 4);
}

TEST(Linear, AConv1DIsTheSameProjectionWithTheFilesWeightTurned) {
  const Tensor weight_IO = normal({6, 4}, 3, at::kFloat);
  MapSource source({{"h.c_fc.weight", weight_IO}, {"a.fc.weight", weight_IO.t().contiguous()}});
  Linear conv("h.c_fc", {6, 4, true, WeightLayout::kInOut}, source, at::kFloat), usual("a.fc", {6, 4, false}, source, at::kFloat);
  EXPECT_STREQ(conv.kind(), "Conv1D");
  EXPECT_EQ(conv.in_features(), 6);
  EXPECT_EQ(conv.out_features(), 4);
  // The file's own tensor, not a copy: mapped pages stay mapped, and a trained weight has the file's layout.
  EXPECT_EQ(conv.base_parameters()[0].tensor.data_ptr(), weight_IO.data_ptr());
  EXPECT_EQ(conv.base_parameters()[0].tensor.sizes(), weight_IO.sizes());
  EXPECT_EQ(conv.weight().data_ptr(), weight_IO.data_ptr());
  expect_equal(conv.weight(), usual.weight());

  const Pass pass = evaluation_pass(small_batch());
  const Tensor x = normal({5, 6}, 9, at::kFloat);
  const Tensor base = x.mm(weight_IO) + *conv.bias_in_use();
  expect_close(conv.forward(x, pass), base, 1e-6);
  const LowRank pair = attachment("default", 20, 0.5);
  conv.attach(pair);
  expect_close(conv.forward(x, pass), base + delta(x, pair), 1e-6);
  // With a trained base weight, the gradient has the file's layout.
  conv.use_adapter("");
  const Tensor leaf_IO = conv.base_parameters()[0].tensor.requires_grad_(true);
  conv.forward(x, pass).sum().backward();
  expect_close(leaf_IO.grad(), x.sum(0).unsqueeze(1).expand({6, 4}), 1e-5);
}

TEST(Dropout, OfTheBaseIsDrawnByTheTokenAndThePlaceInTrainingAlone) {
  const Tensor x = at::ones({5, 2000}, at::kFloat);
  const Dropout here("h.0.drop", 0.25), there("h.1.drop", 0.25), never("h.0.drop", 0.0);
  const Pass pass = training_pass(small_batch(), 1, 0);
  expect_equal(here.forward(x, evaluation_pass(small_batch())), x);
  expect_equal(never.forward(x, pass), x);
  EXPECT_FALSE(here.active(evaluation_pass(small_batch())) || never.active(pass) || !here.active(pass));
  const Tensor y = here.forward(x, pass);
  expect_equal(here.forward(x, pass), y);
  EXPECT_FALSE(at::equal(there.forward(x, pass), y));
  EXPECT_FALSE(at::equal(here.forward(x, training_pass(small_batch(), 1, 1)), y));
  EXPECT_NEAR(y.eq(0).to(at::kFloat).mean().item<double>(), 0.25, 0.02);
  EXPECT_NEAR(y.mean().item<double>(), 1.0, 0.03);
  // A token's mask does not depend on its batch: the second document by itself.
  const std::vector<test::Document> documents = test::documents_of({2, 3}, 20);
  const Batch alone = test::batch_of({documents[1]});
  expect_equal(here.forward(x.slice(0, 2), training_pass(alone, 1, 0)), y.slice(0, 2));
}

TEST(Linear, AttachmentsAddUpAndCanBeSwitchedOff) {
  MapSource source;
  Linear linear("a.q_proj", {6, 4, true}, source, at::kFloat);
  const Pass pass = evaluation_pass(small_batch());
  const Tensor x = normal({5, 6}, 9, at::kFloat);
  const Tensor base = x.mm(linear.weight().t()) + *linear.bias_in_use();
  expect_close(linear.forward(x, pass), base, 1e-6);
  const LowRank first = attachment("default", 20, 0.5), second = attachment("other", 30, 2.0);
  linear.attach(first);
  expect_close(linear.forward(x, pass), base + delta(x, first), 1e-6);
  linear.attach(second);
  expect_close(linear.forward(x, pass), base + delta(x, first) + delta(x, second), 1e-6);
  linear.attachments()[0]->enabled = false;
  expect_close(linear.forward(x, pass), base + delta(x, second), 1e-6);
  linear.attachments()[1]->enabled = false;
  expect_close(linear.forward(x, pass), base, 1e-6);
  // Gradients reach both if both are trained.
  linear.attachments()[0]->enabled = linear.attachments()[1]->enabled = true;
  linear.forward(x, pass).sum().backward();
  for (const LowRank& each : {first, second}) {
    expect_close(each.B_OR.grad(), (each.scale * x.mm(each.A_RI.t()).sum(0)).expand({4, 2}), 1e-5);
  }
}

TEST(Linear, DropoutIsDrawnForTheHostAndTheAdapterInTrainingAlone) {
  MapSource source({{"a.q_proj.weight", at::zeros({4, 6})}, {"a.k_proj.weight", at::zeros({4, 6})}});
  const Tensor x = normal({5, 6}, 9, at::kFloat);
  const auto output = [&](const std::string& host, const std::string& adapter, const Pass& pass) {
    Linear linear(host, {6, 4}, source, at::kFloat);
    linear.attach(attachment(adapter, 20, 1.0, 0.5));
    return linear.forward(x, pass).detach();
  };
  const Pass pass = training_pass(small_batch(), 1, 0);
  const Tensor one = output("a.q_proj", "default", pass);
  expect_equal(output("a.q_proj", "default", pass), one);
  EXPECT_FALSE(at::equal(output("a.k_proj", "default", pass), one));
  EXPECT_FALSE(at::equal(output("a.q_proj", "other", pass), one));
  EXPECT_FALSE(at::equal(output("a.q_proj", "default", training_pass(small_batch(), 1, 1)), one));
  const LowRank same = attachment("default", 20, 1.0);
  expect_close(output("a.q_proj", "default", evaluation_pass(small_batch())), delta(x, same), 1e-6);
  // The mask is the one of (row key, host, adapter).
  const ops::DropoutDraw draw{pass.row_keys_T, mix64(hash_name("a.q_proj"), hash_name("default")), 0.5};
  expect_close(one, delta(ops::dropout_reference(x, draw), same), 1e-6);
}

TEST(Linear, ProjectGivesEachProjectionOfOneInput) {
  MapSource source;
  Linear q("a.q_proj", {6, 4}, source, at::kFloat), k("a.k_proj", {6, 3, true}, source, at::kFloat);
  q.attach(attachment("default", 20, 0.5));
  const Pass pass = training_pass(small_batch(), 1, 0);
  const Tensor x = normal({5, 6}, 9, at::kFloat);
  const std::vector<Tensor> both = project(x, {&q, &k}, pass);
  ASSERT_EQ(both.size(), 2U);
  expect_equal(both[0], q.forward(x, pass));
  expect_equal(both[1], k.forward(x, pass));
}

TEST(Activation, NamesAreTransformers) {
  const Tensor x = normal({7}, 1);
  const auto named = [&x](const char* name) { return ops::activation(find_activation(name, "config.json"), x); };
  expect_close(named("silu"), x * x.sigmoid(), 1e-12);
  expect_equal(named("swish"), named("silu"));
  expect_close(named("gelu"), 0.5 * x * (1 + at::erf(x / std::sqrt(2.0))), 1e-12);
  const Tensor tanh_form = 0.5 * x * (1 + at::tanh(std::sqrt(2.0 / M_PI) * (x + 0.044715 * x.pow(3))));
  expect_close(named("gelu_new"), tanh_form, 1e-12);
  expect_close(named("gelu_pytorch_tanh"), tanh_form, 1e-12);
  expect_equal(named("relu"), x.clamp_min(0));
  test::expect_error(ErrorKind::kModel, {"config.json", "'mish'", "silu", "gelu_new"}, [] { find_activation("mish", "config.json"); });
}

TEST(Device, CpuIsAlwaysThereAndMemoryIsCounted) {
  EXPECT_EQ(open_device("cpu"), at::Device(at::kCPU));
  EXPECT_GT(peak_memory_bytes(at::kCPU), int64_t{1} << 20);
}

TEST(Device, TheFirstUseSaysHowManyCompiledProductsAreCachedUnlessTheUserDoes) {
  const char* const kVariable = "ONEDNN_PRIMITIVE_CACHE_CAPACITY";
  unsetenv(kVariable);
  ops::cache_compiled_products(ops::kProductsOfImages);
  open_device("cpu");
  EXPECT_STREQ(std::getenv(kVariable), "512");
  unsetenv(kVariable);
  open_device("cpu");
  EXPECT_STREQ(std::getenv(kVariable), "32");
  setenv(kVariable, "7", 1);
  ops::cache_compiled_products(ops::kProductsOfImages);
  EXPECT_STREQ(std::getenv(kVariable), "7");
}

}  // namespace
}  // namespace lora::nn
