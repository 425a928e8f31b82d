// Keys of config.json that the families' goldens do not cover: keys of transformers 4 and 5, defaults, and invalid values.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "hidden_of.h"
#include "lora/models/base_model.h"
#include "support/batches.h"
#include "support/changed_model.h"
#include "support/expect_error.h"
#include "support/golden.h"
#include "support/tensors.h"

namespace lora::models {
namespace {

using test::changed;
using test::hidden_of;

/// Whether the keys have the same meaning as those of the golden case.
bool is_same_model(const std::string& name, const Json& changes) {
  return at::equal(hidden_of(changed(name, changes)), hidden_of(changed(name, Json::object())));
}

/// What logits of any size are reduced to.
double soft_cap(const BaseModel& base) {
  const nn::Batch batch = test::batch_of(test::documents_of({30, 12}, 80));
  const at::NoGradGuard no_grad;
  return base.model->tokens->logits(1e6 * hidden_of(base), nn::evaluation_pass(batch)).abs().max().item<double>();
}

TEST(FamilyConfig, BothDialectsAreTheSameModel) {
  EXPECT_TRUE(is_same_model("gemma3_text", {{"rope_parameters", nullptr},
                                            {"layer_types", nullptr},
                                            {"rope_theta", 20000.0},
                                            {"rope_scaling", {{"rope_type", "linear"}, {"factor", 8.0}}},
                                            {"rope_local_base_freq", 500.0},
                                            {"sliding_window_pattern", 3}}));
  EXPECT_TRUE(is_same_model("qwen2", {{"layer_types", nullptr}}));
  EXPECT_TRUE(is_same_model("gemma2", {{"layer_types", nullptr}}));
  EXPECT_TRUE(is_same_model("smollm3", {{"layer_types", nullptr}, {"no_rope_layers", nullptr}, {"no_rope_layer_interval", 2}}));
  EXPECT_TRUE(is_same_model("gemma", {{"hidden_act", "gelu_pytorch_tanh"}}));
}

TEST(FamilyConfig, EveryKeyThatChangesTheModelIsRead) {
  EXPECT_FALSE(is_same_model("gemma3_text", {{"layer_types", nullptr}, {"sliding_window_pattern", 2}}));
  EXPECT_FALSE(is_same_model("qwen2", {{"use_sliding_window", false}}));
  EXPECT_FALSE(is_same_model("qwen3", {{"use_sliding_window", false}}));
  EXPECT_FALSE(is_same_model("mistral", {{"sliding_window", 8}}));
  EXPECT_FALSE(is_same_model("gemma2", {{"attn_logit_softcapping", 50.0}}));
  EXPECT_FALSE(is_same_model("gemma2", {{"query_pre_attn_scalar", 12}}));
  EXPECT_FALSE(is_same_model("phi3", {{"original_max_position_embeddings", 64}}));
  EXPECT_FALSE(is_same_model("smollm3", {{"no_rope_layers", {1, 1}}}));
  EXPECT_FALSE(is_same_model("olmo2", {{"rms_norm_eps", 1e-2}}));
  EXPECT_NEAR(soft_cap(changed("gemma2", Json::object())), 3.0, 1e-6);
  EXPECT_NEAR(soft_cap(changed("gemma2", {{"final_logit_softcapping", nullptr}})), 30.0, 1e-5);
}

TEST(FamilyConfig, FaultsNameTheKey) {
  const auto expect_fault = [](const char* name, const Json& changes, const std::vector<std::string>& parts) {
    test::expect_error(ErrorKind::kModel, parts, [&] { changed(name, changes); });
  };
  expect_fault("mistral", {{"sliding_window", 0}}, {"config.json: sliding_window", "found an integer (0)", "from 1 to"});
  expect_fault("qwen3", {{"layer_types", {"full_attention"}}}, {"layer_types", "one type for each of num_hidden_layers (2)"});
  expect_fault("qwen3", {{"layer_types", {"full_attention", "chunked_attention"}}},
               {"layer_types", "\"full_attention\" and \"sliding_attention\""});
  expect_fault("qwen3", {{"layer_types", "full_attention"}}, {"layer_types", "a list of"});
  expect_fault("smollm3", {{"no_rope_layers", {1}}}, {"no_rope_layers", "one for each of num_hidden_layers (2)"});
  expect_fault("smollm3", {{"no_rope_layers", {1, 2}}}, {"no_rope_layers", "a list of 0 and 1"});
  expect_fault("gemma2", {{"attn_logit_softcapping", -1.0}}, {"attn_logit_softcapping", "a number above 0, or null for none"});
  expect_fault("gemma2", {{"query_pre_attn_scalar", 0}}, {"query_pre_attn_scalar", "a number above 0"});
  for (const char* name : {"gemma", "gemma2", "gemma3_text"}) {
    expect_fault(name, {{"use_bidirectional_attention", true}}, {"use_bidirectional_attention", "predict the next token"});
  }
  expect_fault("gemma3_text", {{"rope_parameters", {{"full_attention", 3}}}}, {"rope_parameters.full_attention", "a JSON object"});
  expect_fault("phi3", {{"rope_parameters", {{"rope_type", "longrope"}}}}, {"rope_parameters.short_factor", "missing"});
  expect_fault("phi3", {{"num_key_value_heads", 3}}, {"num_key_value_heads", "divisor of num_attention_heads (4)"});
}

TEST(FamilyConfig, AGemmaStartsWithNormsThatDoNothing) {
  ModelOptions options;
  options.path = test::Golden("gemma").folder / "model";
  options.device = "cpu";
  options.from_scratch = true;
  const BaseModel base = load_base_model(options, 1);
  for (const nn::Parameter& parameter : base.model->base_parameters()) {
    if (parameter.name.find("norm") != std::string::npos) {
      test::expect_equal(parameter.tensor, at::zeros_like(parameter.tensor), parameter.name);
    }
  }
}

}  // namespace
}  // namespace lora::models
