// The places in a layer where a method can attach a module of its own.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "lora/nn/adapters.h"
#include "lora/nn/attention.h"
#include "lora/nn/kv_cache.h"
#include "lora/nn/tap.h"
#include "support/batches.h"
#include "support/given_keys.h"
#include "support/tensors.h"
#include "support/tiny_llama.h"

namespace lora::models {
namespace {

/// Multiplies a block's output.
struct Factor : nn::Attachment {
  Factor(std::string adapter, double factor) : Attachment(std::move(adapter)), factor(test::trained(at::full({1}, factor, at::kFloat))) {}

  at::Tensor tap(const nn::BlockOutput& output, const nn::Pass&) const override { return output.block_TD * factor; }
  std::vector<at::Tensor> tensors() const override { return {factor}; }
  nn::Kept kept(int64_t out_features) const override { return {out_features, 0}; }

  at::Tensor factor;
};

at::Tensor states_of(const BaseModel& base) {
  const nn::Batch batch = test::batch_of(test::documents_of({7, 4}, 50));
  const at::NoGradGuard no_grad;
  return base.model->body->hidden(nn::evaluation_pass(batch));
}

nn::Tap& tap(const BaseModel& base, const std::string& name) {
  for (nn::Host* place : base.model->taps()) {
    if (place->name() == name) {
      return dynamic_cast<nn::Tap&>(*place);
    }
  }
  throw std::logic_error("no tap " + name);
}

TEST(Taps, StandAfterEachBlockAndInAttention) {
  const BaseModel base = test::tiny_llama();
  std::vector<std::string> names;
  for (const nn::Host* place : base.model->taps()) {
    names.push_back(place->name());
    for (const nn::Host* host : base.model->hosts()) {
      EXPECT_NE(host, place);  // target_modules does not see it
    }
  }
  ASSERT_EQ(names.size(), 10U);
  EXPECT_EQ(names[0], "model.embed_tokens.virtual_tokens");
  EXPECT_EQ(names[4], "model.layers.1.self_attn");
  EXPECT_EQ(names[5], "model.layers.1.attention_adapters");
  EXPECT_EQ(names[6], "model.layers.1.output_adapters");
}

TEST(Taps, AModuleTakesPartWhileItsAdapterIsInUse) {
  const BaseModel base = test::tiny_llama();
  const at::Tensor bare_TD = states_of(base);
  nn::Tap& after_block = tap(base, "model.layers.1.output_adapters");
  EXPECT_FALSE(after_block.is_trained());
  after_block.attach(Factor("same", 1.0));
  test::expect_equal(states_of(base), bare_TD);
  after_block.attach(Factor("twice", 2.0));
  EXPECT_TRUE(after_block.is_trained());
  nn::use_adapter(*base.model, "same");
  test::expect_equal(states_of(base), bare_TD);
  nn::use_adapter(*base.model, "twice");
  EXPECT_FALSE(at::allclose(states_of(base), bare_TD));
  nn::remove_adapters(*base.model);
  EXPECT_FALSE(after_block.is_trained());
  test::expect_equal(states_of(base), bare_TD);
}

nn::Batch tokens(int64_t begin, int64_t end, int64_t cached) {
  nn::Batch batch = test::batch_of(test::documents_of({12}, 50));
  return {nn::make_layout({{end - begin, 0, cached}}), nn::Tokens{batch.tokens().ids_T.slice(0, begin, end), std::nullopt}, {}};
}

/// Attaches what attention knows of the first five tokens of a document of twelve. Returns the states of the others.
at::Tensor attach_beginning(const BaseModel& base) {
  const at::NoGradGuard no_grad;
  nn::KvCache cache({12});
  base.model->body->hidden(nn::cached_pass(tokens(0, 5, 0), cache));
  const at::Tensor rest_TD = base.model->body->hidden(nn::cached_pass(tokens(5, 12, 5), cache));
  int64_t layer = 0;
  for (nn::Host* place : base.model->taps()) {
    if (auto* const attention = dynamic_cast<nn::Attention*>(place)) {
      attention->attach(
          test::GivenKeys("one", test::trained(cache.keys(layer).slice(0, 0, 5)), test::trained(cache.values(layer).slice(0, 0, 5))));
      ++layer;
    }
  }
  return rest_TD;
}

TEST(Taps, KeysBeforeADocumentAreLikeThoseOfItsBeginning) {
  const BaseModel base = test::tiny_llama();
  const at::Tensor rest_TD = attach_beginning(base);
  EXPECT_EQ(base.model->body->prefix_length(), 5);
  const at::NoGradGuard no_grad;
  test::expect_close(base.model->body->hidden(nn::evaluation_pass(tokens(5, 12, 0))), rest_TD, 1e-5);
  nn::KvCache cache({7}, 5);
  const at::Tensor first_TD = base.model->body->hidden(nn::cached_pass(tokens(5, 9, 0), cache));
  const at::Tensor second_TD = base.model->body->hidden(nn::cached_pass(tokens(9, 12, 4), cache));
  test::expect_close(at::cat({first_TD, second_TD}), rest_TD, 1e-5);
  const int64_t kept = base.model->body->pass_memory(nn::Recompute::kNothing).kept_per_document;
  EXPECT_GT(kept, 0);
  EXPECT_EQ(base.model->body->pass_memory(nn::Recompute::kLayers).kept_per_document, kept / 3);
  nn::use_adapter(*base.model, "");
  EXPECT_EQ(base.model->body->prefix_length(), 0);
  EXPECT_EQ(base.model->body->pass_memory(nn::Recompute::kNothing).kept_per_document, 0);
}

TEST(Taps, KeysBeforeADocumentAreTrainedWithRecomputationAsWithout) {
  std::vector<std::vector<at::Tensor>> gradients;
  for (const nn::Recompute recompute : {nn::Recompute::kNothing, nn::Recompute::kLayers}) {
    const BaseModel base = test::tiny_llama();
    attach_beginning(base);
    base.model->body->hidden(nn::training_pass(tokens(5, 12, 0), 1, 0, recompute)).square().sum().backward();
    gradients.emplace_back();
    for (const nn::Host* place : base.model->taps()) {
      for (const test::GivenKeys* keys : place->attached<test::GivenKeys>()) {
        gradients.back().insert(gradients.back().end(), {keys->keys_NKE.grad(), keys->values_NKE.grad()});
      }
    }
  }
  ASSERT_EQ(gradients[0].size(), 6U);
  for (size_t i = 0; i < gradients[0].size(); ++i) {
    EXPECT_GT(gradients[0][i].abs().max().item<double>(), 0.0);
    test::expect_equal(gradients[1][i], gradients[0][i]);
  }
}

TEST(Taps, WhatTheyKeepIsInTheMemoryOfAPass) {
  const BaseModel base = test::tiny_llama();
  const auto kept = [&base] { return base.model->body->pass_memory(nn::Recompute::kNothing).kept; };
  const int64_t bare = kept();  // nothing is trained
  tap(base, "model.layers.2.attention_adapters").attach(Factor("one", 2.0));
  const int64_t last = kept() - bare;
  EXPECT_GE(last, 16 * 4);
  tap(base, "model.layers.1.attention_adapters").attach(Factor("one", 2.0));
  EXPECT_GT(kept() - bare, 2 * last);  // with the whole feed-forward block of the second layer
}

}  // namespace
}  // namespace lora::models
