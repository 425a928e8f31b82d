// The places in a layer where a method can attach a module of its own.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "lora/nn/adapters.h"
#include "lora/nn/tap.h"
#include "support/batches.h"
#include "support/tensors.h"
#include "support/tiny_llama.h"

namespace lora::models {
namespace {

/// Multiplies a block's output.
struct Factor : nn::Attachment {
  Factor(std::string adapter, double factor) : Attachment(std::move(adapter)), factor(test::trained(at::full({1}, factor, at::kFloat))) {}

  at::Tensor tap(const at::Tensor& x_TD, const nn::Pass&) const override { return x_TD * factor; }
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
  ASSERT_EQ(names.size(), 9U);
  EXPECT_EQ(names[3], "model.layers.1.self_attn");
  EXPECT_EQ(names[4], "model.layers.1.attention_adapters");
  EXPECT_EQ(names[5], "model.layers.1.output_adapters");
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
