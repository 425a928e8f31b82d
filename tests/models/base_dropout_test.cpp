// The base's own dropout: its positions and rates, and that it is a function of token and module.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "support/changed_model.h"
#include "support/expect_error.h"
#include "support/tensors.h"

namespace lora::models {
namespace {

using test::changed;

/// Each family's dropout rates, all 0 and one at a time.
struct FamilyCase {
  const char* golden;
  std::vector<const char*> keys;
};
const std::vector<FamilyCase> kFamilies{{"gpt2", {"resid_pdrop", "embd_pdrop", "attn_pdrop"}},
                                    {"gpt_neox", {"hidden_dropout", "attention_dropout"}},
                                    {"falcon", {"hidden_dropout"}},
                                    {"falcon_serial", {"hidden_dropout", "attention_dropout"}},
                                    {"stablelm", {"hidden_dropout", "attention_dropout"}},
                                    {"mixtral", {"attention_dropout"}},
                                    {"qwen3_moe", {"attention_dropout"}},
                                    {"mistral", {"attention_dropout"}},
                                    {"qwen2", {"attention_dropout"}},
                                    {"qwen3", {"attention_dropout"}},
                                    {"gemma", {"attention_dropout"}},
                                    {"gemma2", {"attention_dropout"}},
                                    {"gemma3_text", {"attention_dropout"}},
                                    {"olmo2", {"attention_dropout"}},
                                    {"smollm3", {"attention_dropout"}},
                                    {"phi3", {"attention_dropout", "resid_pdrop"}}};

Json none_of(const FamilyCase& family) {
  Json rates = Json::object();
  for (const char* key : family.keys) {
    rates[key] = 0.0;
  }
  return rates;
}

const std::vector<test::Document>& documents() {
  static const std::vector<test::Document> documents = test::documents_of({11, 7, 16}, 80);
  return documents;
}

at::Tensor trained_hidden(const BaseModel& base, const std::vector<test::Document>& of, uint64_t seed = 3) {
  const nn::Batch batch = test::batch_of(of);
  const at::NoGradGuard no_grad;
  return base.model->body->hidden(nn::training_pass(batch, seed, 0));
}

at::Tensor evaluated_hidden(const BaseModel& base) {
  const nn::Batch batch = test::batch_of(documents());
  const at::NoGradGuard no_grad;
  return base.model->body->hidden(nn::evaluation_pass(batch));
}

TEST(BaseDropout, EveryRateOfEveryFamilyActsInTrainingAlone) {
  for (const FamilyCase& family : kFamilies) {
    const BaseModel plain = changed(family.golden, none_of(family));
    const at::Tensor expected = evaluated_hidden(plain);
    test::expect_equal(trained_hidden(plain, documents()), expected, family.golden);
    for (const char* key : family.keys) {
      const std::string what = std::string(family.golden) + " " + key;
      Json rates = none_of(family);
      rates[key] = 0.3;
      const BaseModel base = changed(family.golden, rates);
      test::expect_equal(evaluated_hidden(base), expected, what);
      const at::Tensor dropped = trained_hidden(base, documents());
      EXPECT_FALSE(at::allclose(dropped, expected)) << what;
      test::expect_equal(trained_hidden(base, documents()), dropped, what);
      EXPECT_FALSE(at::allclose(trained_hidden(base, documents(), 4), dropped)) << what << " by another seed";
    }
  }
}

TEST(BaseDropout, NoSplitIntoMicroBatchesChangesIt) {
  for (const FamilyCase& family : kFamilies) {
    Json rates = Json::object();
    for (const char* key : family.keys) {
      rates[key] = 0.3;
    }
    const BaseModel base = changed(family.golden, rates);
    const at::Tensor together = trained_hidden(base, documents());
    int64_t begin = 0;
    for (const test::Document& document : documents()) {
      const auto end = begin + static_cast<int64_t>(document.ids.size());
      test::expect_close(trained_hidden(base, {document}), together.slice(0, begin, end), 2e-5, family.golden);
      begin = end;
    }
  }
}

/// The gradient of the embedding, with parts of the pass recomputed.
at::Tensor embedding_gradient(const BaseModel& base, nn::Recompute recompute) {
  const nn::Batch batch = test::batch_of(documents());
  nn::Pass pass = nn::training_pass(batch, 3, 0);
  pass.recompute = recompute;
  at::Tensor table = base.model->base_parameters().front().tensor;
  table.requires_grad_(true);
  base.model->body->hidden(pass).square().sum().backward();
  const at::Tensor gradient = table.grad().clone();
  table.mutable_grad() = at::Tensor();
  return gradient;
}

TEST(BaseDropout, WhatIsComputedAgainDropsTheSame) {
  for (const FamilyCase& family : kFamilies) {
    const BaseModel base = changed(family.golden, none_of(family), [](ModelOptions& options) { options.base_dropout = 0.3; });
    const at::Tensor expected = embedding_gradient(base, nn::Recompute::kNothing);
    EXPECT_GT(expected.abs().max().item<double>(), 0.0) << family.golden;
    for (const nn::Recompute recompute : {nn::Recompute::kFeedForward, nn::Recompute::kLayers}) {
      test::expect_equal(embedding_gradient(base, recompute), expected, family.golden);
    }
  }
}

TEST(BaseDropout, TheRunsOwnRateStandsInPlaceOfConfigJsons) {
  for (const FamilyCase& family : kFamilies) {
    Json rates = Json::object();
    for (const char* key : family.keys) {
      rates[key] = 0.3;
    }
    const BaseModel off = changed(family.golden, rates, [](ModelOptions& options) { options.base_dropout = 0.0; });
    test::expect_equal(trained_hidden(off, documents()), evaluated_hidden(off), family.golden);
    EXPECT_EQ(off.config[family.keys.front()], 0.3) << "a full fine-tuning saves the base's own config.json";
    const BaseModel on = changed(family.golden, none_of(family), [](ModelOptions& options) { options.base_dropout = 0.3; });
    EXPECT_FALSE(at::allclose(trained_hidden(on, documents()), evaluated_hidden(on))) << family.golden;
  }
}

TEST(BaseDropout, ARateThatIsNoneNamesTheKey) {
  for (const double rate : {-0.1, 1.0}) {
    test::expect_error(ErrorKind::kModel, {"config.json: resid_pdrop", "at least 0 and below 1"}, [&] {
      changed("gpt2", {{"resid_pdrop", rate}});
    });
  }
}

}  // namespace
}  // namespace lora::models
