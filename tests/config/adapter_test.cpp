#include <gmock/gmock.h>

#include "lora/base/file.h"
#include "lora/config/command_line.h"
#include "lora/peft/method.h"
#include "sandbox.h"
#include "support/expect_error.h"

namespace lora::config {
namespace {

using peft::LoraInit;
using peft::ModuleChoice;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Json with_adapter(const std::string& adapter) {
  Json document = smallest();
  document["adapter"] = Json::parse(adapter);
  return document;
}

TEST(Adapter, TheConfigReadsEveryMethodThatThereIs) {
  const Json schema = run_config_schema();
  std::vector<std::string> types;
  for (const Json& alternative : schema["properties"]["adapter"]["anyOf"]) {
    if (alternative.contains("properties")) {
      types.push_back(alternative["properties"]["peft_type"]["enum"][0]);
    }
  }
  EXPECT_THAT(types, ::testing::ElementsAreArray(peft::peft_types()));
}

TEST(Adapter, EveryValueArrives) {
  const Sandbox sandbox;
  const std::string text = R"({"peft_type": "LORA", "r": 4, "lora_alpha": 2.5, "lora_dropout": 0.1, "target_modules": ["q_proj", "v_proj"],
    "exclude_modules": ".*k_proj", "layers_to_transform": [0, 2], "layers_pattern": ["layers"], "rank_pattern": {"v_proj": 2, "q_.*": 3},
    "alpha_pattern": {"q_proj": 0.5}, "use_rslora": true, "init_lora_weights": "gaussian", "bias": "none", "task_type": "CAUSAL_LM"})";
  const peft::LoraOptions lora = *sandbox.load(with_adapter(text)).adapter.as<peft::LoraOptions>();
  EXPECT_EQ(lora.r, 4);
  EXPECT_EQ(lora.lora_alpha, 2.5);
  EXPECT_EQ(lora.lora_dropout, 0.1);
  EXPECT_EQ(lora.target_modules.kind, ModuleChoice::Kind::kList);
  EXPECT_THAT(lora.target_modules.names, ElementsAre("q_proj", "v_proj"));
  EXPECT_EQ(lora.exclude_modules.kind, ModuleChoice::Kind::kRegex);
  EXPECT_EQ(lora.exclude_modules.regex, ".*k_proj");
  EXPECT_THAT(*lora.layers_to_transform, ElementsAre(0, 2));
  EXPECT_THAT(lora.layers_pattern, ElementsAre("layers"));
  EXPECT_THAT(lora.rank_pattern, ElementsAre(std::make_pair("v_proj", 2), std::make_pair("q_.*", 3)));  // in the file's order
  EXPECT_THAT(lora.alpha_pattern, ElementsAre(std::make_pair("q_proj", 0.5)));
  EXPECT_TRUE(lora.use_rslora);
  EXPECT_EQ(lora.init, LoraInit::kGaussian);
  EXPECT_EQ(lora.config, Json::parse(text));

  const auto load = [&](const std::string& adapter) { return *sandbox.load(with_adapter(adapter)).adapter.as<peft::LoraOptions>(); };
  EXPECT_EQ(load(R"({"target_modules": "ALL-Linear"})").target_modules.kind, ModuleChoice::Kind::kAllLinear);
  EXPECT_EQ(load(R"({"target_modules": "model.*q_proj"})").target_modules.kind, ModuleChoice::Kind::kRegex);
  EXPECT_EQ(load("{}").target_modules.kind, ModuleChoice::Kind::kNone);
  EXPECT_EQ(load(R"({"target_modules": ["q"], "exclude_modules": []})").exclude_modules.kind, ModuleChoice::Kind::kNone);
  EXPECT_THAT(*load(R"({"target_modules": ["q"], "layers_to_transform": 3, "layers_pattern": "h"})").layers_to_transform, ElementsAre(3));
  EXPECT_EQ(load(R"({"init_lora_weights": false})").init, LoraInit::kRandom);
  EXPECT_THAT(load(R"({"rank_pattern": null})").rank_pattern, IsEmpty());
}

/// What LoraConfig(...).to_dict() holds in PEFT 0.21.2, runtime_config too.
constexpr const char* kWholePeftConfig =
    R"({ "task_type": null, "peft_type": "LORA", "auto_mapping": null, "peft_version": "0.21.2", "base_model_name_or_path": null,
"revision": null, "inference_mode": false, "r": 8, "target_modules": null, "exclude_modules": null, "lora_alpha": 8,
"lora_dropout": 0.0, "fan_in_fan_out": false, "bias": "none", "use_rslora": false, "modules_to_save": null, "init_lora_weights":
true, "layers_to_transform": null, "layers_pattern": null, "rank_pattern": {}, "alpha_pattern": {}, "megatron_config": null,
"megatron_core": "megatron.core", "trainable_token_indices": null, "loftq_config": {}, "eva_config": null, "corda_config": null,
"lora_ga_config": null, "use_dora": false, "velora_config": null, "alora_invocation_tokens": null, "use_qalora": false,
"qalora_group_size": 16, "monteclora_config": null, "layer_replication": null, "runtime_config": {"ephemeral_gpu_offload": false},
"lora_bias": false, "target_parameters": null, "use_bdlora": null, "arrow_config": null, "kasa_config": null,
"ensure_weight_tying": false})";

TEST(Adapter, WholePeftConfigPastedIn) {
  const Sandbox sandbox;
  EXPECT_THAT(sandbox.findings(with_adapter(kWholePeftConfig)), IsEmpty());
  EXPECT_EQ(sandbox.load(with_adapter(kWholePeftConfig)).adapter->config, Json::parse(kWholePeftConfig));
  const std::vector<std::string> supported{"task_type",
                                           "peft_type",
                                           "auto_mapping",
                                           "peft_version",
                                           "base_model_name_or_path",
                                           "revision",
                                           "inference_mode",
                                           "r",
                                           "target_modules",
                                           "exclude_modules",
                                           "lora_alpha",
                                           "lora_dropout",
                                           "bias",
                                           "use_rslora",
                                           "use_dora",
                                           "lora_bias",
                                           "fan_in_fan_out",
                                           "modules_to_save",
                                           "trainable_token_indices",
                                           "ensure_weight_tying",
                                           "init_lora_weights",
                                           "eva_config",
                                           "corda_config",
                                           "lora_ga_config",
                                           "loftq_config",
                                           "layers_to_transform",
                                           "layers_pattern",
                                           "rank_pattern",
                                           "alpha_pattern"};
  const Json whole = Json::parse(kWholePeftConfig);
  for (const auto& [key, value] : whole.items()) {
    if (std::find(supported.begin(), supported.end(), key) != supported.end()) {
      continue;
    }
    Json document = smallest();
    document["adapter"][key] = nullptr;
    EXPECT_THAT(sandbox.findings(document), IsEmpty()) << key;
    document["adapter"][key] = "something else";
    EXPECT_THAT(sandbox.findings(document),
                ElementsAre("[adapter." + key + "] PEFT's " + key + " is not supported yet: found \"something else\", only its default " +
                            value.dump() + " is accepted"));
  }
}

TEST(Adapter, WhatIsTrainedBesideThePairs) {
  const Sandbox sandbox;
  const auto load = [&](const std::string& adapter) { return *sandbox.load(with_adapter(adapter)).adapter.as<peft::LoraOptions>(); };
  const peft::LoraOptions lora = load(R"({"bias": "lora_only", "use_dora": true, "modules_to_save": ["lm_head", "norm"],
    "trainable_token_indices": {"embed_tokens": [5, 3], "lm_head": [7]}, "ensure_weight_tying": true})");
  EXPECT_EQ(lora.bias, peft::TrainedBias::kLoraOnly);
  EXPECT_TRUE(lora.use_dora && lora.ensure_weight_tying && !lora.lora_bias);
  EXPECT_THAT(lora.modules_to_save, ElementsAre("lm_head", "norm"));
  ASSERT_EQ(lora.trainable_token_indices.size(), 2U);
  EXPECT_EQ(lora.trainable_token_indices[0].layer, "embed_tokens");
  EXPECT_THAT(lora.trainable_token_indices[0].ids, ElementsAre(5, 3));
  EXPECT_EQ(lora.trainable_token_indices[1].layer, "lm_head");
  const peft::LoraOptions list = load(R"({"bias": "all", "lora_bias": true, "modules_to_save": null, "trainable_token_indices": [9, 2]})");
  EXPECT_EQ(list.bias, peft::TrainedBias::kAll);
  EXPECT_TRUE(list.lora_bias);
  EXPECT_THAT(list.modules_to_save, IsEmpty());
  ASSERT_EQ(list.trainable_token_indices.size(), 1U);
  EXPECT_EQ(list.trainable_token_indices[0].layer, "");
  EXPECT_THAT(list.trainable_token_indices[0].ids, ElementsAre(9, 2));
  const peft::LoraOptions none = load("{}");
  EXPECT_EQ(none.bias, peft::TrainedBias::kNone);
  EXPECT_TRUE(!none.use_dora && !none.lora_bias && !none.ensure_weight_tying && none.trainable_token_indices.empty());
}

TEST(Adapter, Findings) {
  const Sandbox sandbox;
  const auto expect = [&](const std::string& adapter, const std::string& finding) {
    EXPECT_THAT(sandbox.findings(with_adapter(adapter)), ElementsAre(HasSubstr(finding))) << adapter;
  };
  expect(R"({"layer_replication": [[0, 4], [2, 5]]})", "[adapter.layer_replication] PEFT's layer_replication is not supported yet");
  expect(R"({"use_dora": 1})", "[adapter.use_dora] found 1, expected true or false");
  expect(R"({"bias": "some"})", "[adapter.bias] found \"some\", expected one of \"none\", \"all\", \"lora_only\"");
  expect(R"({"modules_to_save": "lm_head"})", "[adapter.modules_to_save] found \"lm_head\", expected a list");
  const std::string ids = "expected a list of token ids, an object of layer names with a list of token ids each, or null";
  expect(R"({"trainable_token_indices": [3, -1]})", "[adapter.trainable_token_indices] found [3,-1], " + ids);
  expect(R"({"trainable_token_indices": []})", ids);
  expect(R"({"trainable_token_indices": {"embed_tokens": 3}})", ids);
  expect(R"({"lora_bias": true, "use_dora": true})", "[adapter.lora_bias] cannot be used with use_dora, as in PEFT");
  expect(R"({"lora_bias": true, "init_lora_weights": "gaussian"})", "[adapter.lora_bias] needs init_lora_weights true or false");
  expect(R"({"r": 0})", "[adapter.r] found 0, expected an integer >= 1 and <= 65536");
  expect(R"({"r": null})", "[adapter.r] found null");
  expect(R"({"lora_alpha": 0})", "[adapter.lora_alpha] found 0, expected a number > 0");
  expect(R"({"lora_dropout": 1})", "expected a number >= 0 and < 1");
  expect(R"({"target_modules": []})", "[adapter.target_modules] found [], expected a list of module names, \"all-linear\"");
  expect(R"({"target_modules": ["q_proj", 3]})", "[adapter.target_modules] found [\"q_proj\",3]");
  expect(R"({"target_modules": "q_(proj"})", "[adapter.target_modules]");
  expect(R"({"target_modules": "all-linear", "layers_to_transform": [1]})",
         "[adapter.layers_to_transform] cannot be used with target_modules as a string");
  expect(R"({"target_modules": ["q"], "layers_pattern": "h"})", "[adapter.layers_pattern] needs layers_to_transform");
  expect(R"({"target_modules": ["q"], "layers_to_transform": [-1]})",
         "[adapter.layers_to_transform] found [-1], expected an integer >= 0 or a list of integers >= 0 or null");
  expect(R"({"rank_pattern": {"v_proj": 0}})", "[adapter.rank_pattern.v_proj] found 0, expected an integer >= 1");
  expect(R"({"rank_pattern": ["v_proj"]})", "[adapter.rank_pattern] found [\"v_proj\"], expected an object");
  expect(R"({"alpha_pattern": {"v_(proj": 1}})", "[adapter.alpha_pattern.v_(proj]");
  expect(R"({"init_from": 3})", "[adapter.init_from] found 3, expected a non-empty string or null");
  expect(R"("lora")", "[adapter] found \"lora\", expected an object with the keys of a PEFT adapter_config.json, or null");
}

TEST(Adapter, StartsHavePeftsNames) {
  const Sandbox sandbox;
  const auto load = [&](const std::string& adapter) { return *sandbox.load(with_adapter(adapter)).adapter.as<peft::LoraOptions>(); };
  EXPECT_EQ(load(R"({"init_lora_weights": "orthogonal"})").init, LoraInit::kOrthogonal);
  EXPECT_EQ(load(R"({"init_lora_weights": "olora"})").init, LoraInit::kOlora);
  EXPECT_EQ(load(R"({"init_lora_weights": "eva", "loftq_config": {}})").init, LoraInit::kEva) << "PEFT writes the empty object";
  const peft::LoraOptions exact = load(R"({"init_lora_weights": "pissa"})");
  const peft::LoraOptions fast = load(R"({"init_lora_weights": "pissa_niter_16"})");
  EXPECT_TRUE(exact.init == LoraInit::kPissa && fast.init == LoraInit::kPissa);
  EXPECT_EQ(std::make_pair(exact.pissa_niter, fast.pissa_niter), std::make_pair(int64_t{0}, int64_t{16}));
  const peft::LoraOptions eva = load(R"({"init_lora_weights": "eva", "eva_config": {"rho": 1.5, "tau": 0.9, "use_label_mask": false,
    "label_mask_value": -1, "whiten": true, "adjust_scaling_factors": false}})");
  EXPECT_EQ(eva.init, LoraInit::kEva);
  EXPECT_EQ(std::make_tuple(eva.eva.rho, eva.eva.tau, eva.eva.label_mask_value), std::make_tuple(1.5, 0.9, -1));
  EXPECT_TRUE(eva.eva.whiten && !eva.eva.use_label_mask && !eva.eva.adjust_scaling_factors);
  EXPECT_EQ(load(R"({"init_lora_weights": "eva", "eva_config": null})").eva.rho, 2.0);
}

TEST(Adapter, FindingsOfStarts) {
  const Sandbox sandbox;
  const auto expect = [&](const std::string& adapter, const std::string& finding) {
    EXPECT_THAT(sandbox.findings(with_adapter(adapter)), ElementsAre(HasSubstr(finding))) << adapter;
  };
  for (const char* name : {"pissa_niter_0", "pissa_niter_x", "pissa_niter_", "pissa_niter_-1", "pissa_niter_10000", "PiSSA"}) {
    expect(
        R"({"init_lora_weights": ")" + std::string(name) + "\"}",
        "[adapter.init_lora_weights] found \"" + std::string(name) +
            R"(", expected one of true, false, "gaussian", "orthogonal", "pissa", "olora", "loftq", "eva", "corda", )" +
            R"("lora_ga", or "pissa_niter_N" with N from 1 to 9999)");
  }
  expect(R"({"init_lora_weights": 1})", "[adapter.init_lora_weights] found 1, expected one of true, false");
  expect(R"({"init_lora_weights": "mica"})", "found \"mica\", which this version does not support");
  expect(R"({"corda_config": {"corda_method": "kpm"}})", "[adapter.corda_config] needs init_lora_weights \"corda\": found true");
  expect(R"({"init_lora_weights": "corda", "corda_config": {"corda_method": "both"}})",
         "[adapter.corda_config.corda_method] found \"both\", expected \"ipm\" or \"kpm\"");
  expect(R"({"init_lora_weights": "eva", "lora_ga_config": {"scale": "unit"}})",
         "[adapter.lora_ga_config] needs init_lora_weights \"lora_ga\": found \"eva\"");
  expect(R"({"init_lora_weights": "lora_ga", "lora_ga_config": {"stable_gamma": 0}})", "[adapter.lora_ga_config.stable_gamma] found 0");
  expect(R"({"loftq_config": {"loftq_bits": 4}})", "[adapter.loftq_config] needs init_lora_weights \"loftq\": found true");
  expect(R"({"init_lora_weights": "pissa", "use_rslora": true, "rank_pattern": {"q_proj": 4}})",
         "[adapter.init_lora_weights] cannot be combined with use_rslora and a rank_pattern or alpha_pattern");
  expect(R"({"init_lora_weights": "olora", "use_rslora": true, "alpha_pattern": {"q_proj": 4}})",
         "[adapter.init_lora_weights] cannot be combined with use_rslora");
  EXPECT_THAT(sandbox.findings(with_adapter(R"({"init_lora_weights": "olora", "use_rslora": true})")), IsEmpty());
  expect(R"({"eva_config": {}})", "[adapter.eva_config] needs init_lora_weights \"eva\": found true");
  expect(R"({"init_lora_weights": "eva", "eva_config": {"rho": 0.5}})", "[adapter.eva_config.rho] found 0.5, expected a number >= 1");
  expect(R"({"init_lora_weights": "eva", "eva_config": {"tau": 1.5}})", "[adapter.eva_config.tau] found 1.5");
  expect(R"({"init_lora_weights": "eva", "eva_config": {"roh": 2}})", "[adapter.eva_config.roh]");
  expect(R"({"init_lora_weights": "eva", "eva_config": "fast"})", "[adapter.eva_config] found \"fast\", expected an object");
}

TEST(Adapter, AStartThatChangesTheBaseBelongsToItsAdapter) {
  const Sandbox sandbox;
  const auto findings_from = [&](const std::string& start, const std::string& more) {
    sandbox.write("start/adapter_config.json", R"({"peft_type": "LORA", "target_modules": ["q_proj"])" + start + "}");
    return sandbox.findings(with_adapter(R"({"init_from": "start")" + more + "}"));
  };
  const std::string pissa = R"(, "init_lora_weights": "pissa")";
  EXPECT_THAT(findings_from(pissa, ""), IsEmpty());  // PEFT's own file, not converted: the base is changed as it was there
  EXPECT_THAT(findings_from(pissa, pissa), IsEmpty());
  // What computes with it makes the same start again, which a random one is not.
  EXPECT_EQ(read_adapter_folder(sandbox.folder() / "start").as<peft::LoraOptions>()->init, LoraInit::kPissa);
  sandbox.write("random/adapter_config.json",
                R"({"peft_type": "LORA", "target_modules": ["q_proj"], "init_lora_weights": "pissa_niter_4"})");
  test::expect_error(ErrorKind::kModel, {"adapter_config.json:init_lora_weights]", "pissa_niter_4", "cannot be restored"},
                     [&] { read_adapter_folder(sandbox.folder() / "random"); });
  EXPECT_THAT(findings_from("", pissa),
              ElementsAre(HasSubstr("[adapter.init_lora_weights] found \"pissa\", but the adapter of init_from has true")));
  EXPECT_THAT(findings_from(pissa, R"(, "init_lora_weights": true)"), ElementsAre(HasSubstr("but the adapter of init_from has \"pissa\"")));
  EXPECT_THAT(findings_from(R"(, "init_lora_weights": "pissa_niter_4")", ""),
              ElementsAre(HasSubstr("[adapter.init_from] found an adapter initialised by \"pissa_niter_4\"")));
}

TEST(Adapter, InitFrom) {
  const Sandbox sandbox;
  sandbox.write(
      "start/adapter_config.json",
      R"({"peft_type": "LORA", "r": 4, "lora_alpha": 32, "lora_dropout": 0.5, "target_modules": ["v_proj"], "rank_pattern": {"v_proj": 2},
                    "peft_version": "0.99", "a_later_option": false, "another": null})");
  const RunConfig run = sandbox.load(with_adapter(R"({"init_from": "./start/", "lora_dropout": 0.25})"));
  const peft::LoraOptions& lora = *run.adapter.as<peft::LoraOptions>();
  EXPECT_EQ(*lora.init_from, sandbox.folder() / "start");
  EXPECT_EQ(lora.r, 4);
  EXPECT_EQ(lora.lora_alpha, 32);
  EXPECT_EQ(lora.lora_dropout, 0.25);
  EXPECT_THAT(lora.target_modules.names, ElementsAre("v_proj"));
  EXPECT_EQ(lora.rank_pattern.size(), 1u);
  EXPECT_EQ(lora.config["r"], 4);
  EXPECT_EQ(lora.config["lora_dropout"], 0.25);
  EXPECT_FALSE(lora.config.contains("init_from") || lora.config.contains("a_later_option"));
  EXPECT_EQ(run.resolved["adapter"]["init_from"], (sandbox.folder() / "start").string());
  EXPECT_EQ(run.resolved["adapter"]["lora_alpha"], 32);
  EXPECT_EQ(sandbox.load(run.resolved).resolved, run.resolved);

  const auto expect = [&](const std::string& adapter, const std::string& finding, int exit_code = 2) {
    EXPECT_THAT(sandbox.findings(with_adapter(adapter), {}, {}, exit_code), ElementsAre(HasSubstr(finding))) << adapter;
  };
  // The adapter's file is at fault, not the config: exit 4.
  expect(R"({"init_from": "nowhere"})",
         "[adapter.init_from] found \"" + (sandbox.folder() / "nowhere").string() + "\", which does not exist", 4);
  const std::string continued = R"({"init_from": "start"})";
  expect(R"({"init_from": "start", "r": 8})", "[adapter.r] found 8, but the adapter of init_from has 4");
  EXPECT_THAT(sandbox.findings(with_adapter(continued), {"output_dir=start"}), ElementsAre(HasSubstr("[output_dir]")));
  const std::string file = (sandbox.folder() / "start/adapter_config.json").string();
  sandbox.write("start/adapter_config.json", R"({"peft_type": "LORA", "use_qalora": true})");
  expect(continued, "[" + file + ":use_qalora] PEFT's use_qalora is not supported yet");
  EXPECT_THAT(sandbox.findings(with_adapter(R"({"init_from": "start", "use_qalora": false})")), IsEmpty());
  sandbox.write("start/adapter_config.json", R"({"peft_type": "LORA", "lora_bias": true})");
  expect(R"({"init_from": "start", "use_dora": true})", "[adapter.lora_bias] cannot be used with use_dora");
  sandbox.write("start/adapter_config.json", R"({"peft_type": "IA3", "feedforward_modules": []})");
  expect(R"({"peft_type": "LORA", "init_from": "start"})", "[" + file + ":peft_type] found \"IA3\", expected \"LORA\", the method of");
  EXPECT_NE(sandbox.load(with_adapter(continued)).adapter.as<peft::Ia3Options>(), nullptr);  // its method is inherited too
  sandbox.write("start/adapter_config.json", R"({"peft_type": )");
  expect(continued, "[adapter.init_from] cannot be read: ", 4);
  std::filesystem::remove(file);
  expect(continued, "without adapter_config.json, expected a folder with adapter_config.json and adapter_model.safetensors", 4);
  EXPECT_THAT(sandbox.findings(with_adapter(continued), {"training.seed=x"}), ::testing::SizeIs(2));  // of both kinds: the config's
}

TEST(Adapter, EveryMethodHasASection) {
  const Sandbox sandbox;
  for (const std::string& type : peft::peft_types()) {
    const bool is_prompt = type == peft::kPrefixTuning || type == peft::kPromptTuning || type == peft::kPTuning;
    const std::string needed = is_prompt                        ? R"(, "num_virtual_tokens": 4)"
                               : type == peft::kTrainableTokens ? R"(, "token_indices": [4])"
                                                                : "";
    const peft::MethodOptions options = sandbox.load(with_adapter("{\"peft_type\": \"" + type + "\"" + needed + "}")).adapter;
    EXPECT_TRUE(options) << type;
  }
  EXPECT_THAT(sandbox.findings(with_adapter(R"({"peft_type": "TRAINABLE_TOKENS", "layers_to_transform": [0]})")),
              ElementsAre(HasSubstr("[adapter.token_indices] is missing"), HasSubstr("[adapter.layers_to_transform]")));
  EXPECT_THAT(sandbox.findings(with_adapter(R"({"peft_type": "POLY"})")),
              ElementsAre(HasSubstr("[adapter.peft_type] found \"POLY\", expected one of \"LORA\", \"PREFIX_TUNING\"")));
}

}  // namespace
}  // namespace lora::config
