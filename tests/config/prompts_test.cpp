// The keys of the methods that learn virtual tokens.
#include <gmock/gmock.h>

#include "sandbox.h"

namespace lora::config {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Json with_prompt(const std::string& keys) {
  Json document = smallest();
  document["adapter"] = Json::parse("{" + keys + "}");
  return document;
}

TEST(PromptKeys, EveryValueArrives) {
  const Sandbox sandbox;
  const RunConfig prefix = sandbox.load(with_prompt(
      R"("peft_type": "PREFIX_TUNING", "num_virtual_tokens": 5, "prefix_projection": true, "encoder_hidden_size": 7,
         "init_weights": "zero", "token_dim": 8, "num_layers": 2, "num_attention_heads": 2, "num_transformer_submodules": 1,
         "modules_to_save": ["score"], "inference_mode": true, "task_type": "CAUSAL_LM")"));
  const peft::PrefixOptions& options = *prefix.adapter.as<peft::PrefixOptions>();
  EXPECT_EQ(options.num_virtual_tokens, 5);
  EXPECT_TRUE(options.prefix_projection);
  EXPECT_EQ(options.encoder_hidden_size, 7);
  EXPECT_EQ(options.init_weights, "zero");
  EXPECT_EQ(options.token_dim, 8);
  EXPECT_EQ(options.num_layers, 2);
  EXPECT_EQ(options.num_attention_heads, 2);
  EXPECT_EQ(options.num_transformer_submodules, 1);
  EXPECT_THAT(options.modules_to_save, ElementsAre("score"));

  const RunConfig prompt = sandbox.load(with_prompt(
      R"("peft_type": "PROMPT_TUNING", "num_virtual_tokens": 5, "prompt_tuning_init": "TEXT", "prompt_tuning_init_text": "Answer:",
         "tokenizer_name_or_path": "model", "tokenizer_kwargs": null)"));
  EXPECT_EQ(prompt.adapter.as<peft::PromptTuningOptions>()->prompt_tuning_init, peft::PromptInit::kText);
  EXPECT_EQ(prompt.adapter.as<peft::PromptTuningOptions>()->prompt_tuning_init_text, "Answer:");
  EXPECT_EQ(prompt.adapter.as<peft::PromptTuningOptions>()->tokenizer_name_or_path, "model");

  const RunConfig p_tuning = sandbox.load(with_prompt(
      R"("peft_type": "P_TUNING", "num_virtual_tokens": 5, "encoder_reparameterization_type": "LSTM", "encoder_num_layers": 3,
         "encoder_dropout": 0.0)"));
  EXPECT_EQ(p_tuning.adapter.as<peft::PTuningOptions>()->encoder_reparameterization_type, peft::PromptNetwork::kLstm);
  EXPECT_EQ(p_tuning.adapter.as<peft::PTuningOptions>()->encoder_num_layers, 3);
}

TEST(PromptKeys, WrongOnesAreNamed) {
  const Sandbox sandbox;
  const auto expect = [&](const std::string& keys, const std::string& finding) {
    EXPECT_THAT(sandbox.findings(with_prompt(keys)), ElementsAre(HasSubstr(finding))) << keys;
  };
  expect(R"("peft_type": "PREFIX_TUNING")", "[adapter.num_virtual_tokens] is missing");
  expect(R"("peft_type": "PREFIX_TUNING", "num_virtual_tokens": 0)", "[adapter.num_virtual_tokens] found 0");
  expect(R"("peft_type": "PREFIX_TUNING", "num_virtual_tokens": 2, "init_weights": "one")", "expected \"zero\" or null");
  expect(R"("peft_type": "PREFIX_TUNING", "num_virtual_tokens": 2, "r": 8)", "[adapter.r]");
  expect(R"("peft_type": "PROMPT_TUNING", "num_virtual_tokens": 2, "prompt_tuning_init": "TEXT")",
         "[adapter.prompt_tuning_init_text] is missing");
  expect(R"("peft_type": "PROMPT_TUNING", "num_virtual_tokens": 2, "tokenizer_kwargs": {"use_fast": false})",
         "[adapter.tokenizer_kwargs]");
  expect(R"("peft_type": "P_TUNING", "num_virtual_tokens": 2, "encoder_dropout": 0.1)", "[adapter.encoder_dropout] found 0.1, expected 0");
}

TEST(PromptKeys, ContinueAnAdapterOfTheSameSizes) {
  const Sandbox sandbox;
  sandbox.write("start/adapter_config.json", R"({"peft_type": "P_TUNING", "num_virtual_tokens": 6, "encoder_hidden_size": 9})");
  const RunConfig run = sandbox.load(with_prompt(R"("peft_type": "P_TUNING", "init_from": "start")"));
  EXPECT_EQ(run.adapter.as<peft::PTuningOptions>()->num_virtual_tokens, 6);
  EXPECT_EQ(run.adapter.as<peft::PTuningOptions>()->encoder_hidden_size, 9);
  EXPECT_THAT(sandbox.findings(with_prompt(R"("peft_type": "P_TUNING", "init_from": "start", "num_virtual_tokens": 7)")),
              ElementsAre(HasSubstr("found 7, but the adapter of init_from has 6")));
}

TEST(PromptKeys, ExcludeWhatIsOnlyForLora) {
  const Sandbox sandbox;
  EXPECT_THAT(sandbox.findings(with_prompt(R"("peft_type": "PREFIX_TUNING", "num_virtual_tokens": 2)"), {"training.loraplus_lr_ratio=16"}),
              ElementsAre(HasSubstr("[training.loraplus_lr_ratio] found 16")));
  EXPECT_THAT(sandbox.findings(with_prompt(R"("peft_type": "P_TUNING", "num_virtual_tokens": 2)"), {"training.cuda_graphs=true"}),
              ElementsAre(HasSubstr("[training.cuda_graphs] found true")));
}

}  // namespace
}  // namespace lora::config
