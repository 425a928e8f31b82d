// Adapter folders as PEFT 0.1 to 0.21 and other tools write them give PEFT's numbers, in every program.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "app/inspect_adapter.h"
#include "changed_adapter.h"
#include "config/lora_table.h"
#include "lora/nn/adapters.h"
#include "lora/peft/adapter.h"
#include "small_model.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace lora::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

Json cases() {
  return read_json(kStored / "cases.json", ErrorKind::kData);
}

TEST(StoredAdapters, GiveThePeftLoss) {
  const Json all = cases();
  for (const auto& [name, expected] : all.items()) {
    SCOPED_TRACE(name);
    const fs::path base = kStored / expected["base"].get<std::string>();
    try {
      EXPECT_NEAR(loss_with(base, kStored / name), expected["loss"].get<double>(), kLossTolerance);
    } catch (const Error& error) {
      ADD_FAILURE() << error.what();
    }
  }
}

/// What an adapter brings along or takes out of the base, it does to itself alone.
TEST(StoredAdapters, LeaveTheBaseToOthers) {
  const models::BaseModel model = load_small(kStored / "untied");
  const double bare = loss_of(*model.model);
  const Json expected = cases();
  std::vector<std::unique_ptr<peft::Method>> methods;
  const std::vector<std::string> names{"pissa", "resized", "plain", "resized_saved", "olora"};
  for (const std::string& name : names) {
    peft::MethodOptions options = config::read_adapter_folder(kStored / name);
    options->keeps_base = true;
    methods.push_back(peft::attach_adapter(options, *model.model, "base", 0, name));
  }
  for (const std::string& name : names) {
    nn::use_adapter(*model.model, name);
    EXPECT_NEAR(loss_of(*model.model), expected[name]["loss"].get<double>(), kLossTolerance) << name;
  }
  nn::use_adapter(*model.model, "");
  EXPECT_EQ(loss_of(*model.model), bare);
}

TEST(StoredAdapters, MergeToPeftsModel) {
  const Json all = cases();
  for (const auto& [name, expected] : all.items()) {
    SCOPED_TRACE(name);
    const TemporaryFolder scratch;
    const fs::path base = kStored / expected["base"].get<std::string>();
    try {
      merge_into(base, kStored / name, scratch / "merged");
      EXPECT_NEAR(loss_of(*load_small(scratch / "merged").model), expected["merged_loss"].get<double>(), kLossTolerance);
      EXPECT_EQ(is_tied(scratch / "merged"), expected["merged_tie"].get<bool>());
    } catch (const Error& error) {
      ADD_FAILURE() << error.what();
    }
  }
}

/// lora-inspect and lora-convert read what lora-eval reads; an adapter that was converted to PEFT's format is the same adapter.
TEST(StoredAdapters, AreInspectedAndConverted) {
  const Json all = cases();
  for (const auto& [name, expected] : all.items()) {
    SCOPED_TRACE(name);
    const TemporaryFolder scratch;
    const fs::path base = kStored / expected["base"].get<std::string>();
    const peft::MethodOptions options = config::read_adapter_folder(kStored / name);
    const Json facts = app::adapter_facts(kStored / name);
    EXPECT_EQ(facts["modules"].size(), peft::read_adapter(kStored / name, options).low_rank().size());
    if (peft::changes_base(options)) {
      expect_error(ErrorKind::kModel, {"path_initial_model_for_weight_conversion"},
                   [&] { convert_to("peft", kStored / name, scratch / "peft"); });
      continue;
    }
    convert_to("peft", kStored / name, scratch / "peft");
    EXPECT_NEAR(loss_with(base, scratch / "peft"), expected["loss"].get<double>(), kLossTolerance);
  }
}

/// A copy of a case.
class Changed : public ChangedAdapter {
 public:
  explicit Changed(const std::string& name) : ChangedAdapter(kStored / name) {}
};

/// Evaluation and merging refuse it alike.
void expect_adapter_refused(const fs::path& folder, const std::vector<std::string>& parts, const std::string& base = "untied") {
  const TemporaryFolder scratch;
  expect_error(ErrorKind::kModel, parts, [&] { loss_with(kStored / base, folder); });
  expect_error(ErrorKind::kModel, parts, [&] { merge_into(kStored / base, folder, scratch / "merged"); });
}

TEST(StoredAdapters, WhatAsksForSomethingUnknownIsRefused) {
  Changed unknown("plain");
  unknown.config["a_key_of_tomorrow"] = {{"scale", 2}};
  expect_adapter_refused(unknown.write(), {"adapter_config.json:a_key_of_tomorrow]", "unknown key", R"({"scale":2})"});

  Changed other_file("plain");
  other_file.config.update({{"hidden_size", 16}, {"architectures", {"LlamaForCausalLM"}}, {"vocab_size", 40}});
  expect_adapter_refused(other_file.write(), {"3 unknown keys", "hidden_size, architectures", "(1 more)"});

  for (const auto& [key, value] : std::vector<std::pair<std::string, Json>>{{"use_qalora", true},
                                                                            {"enable_lora", {true, false}},
                                                                            {"target_parameters", Json::array({"mlp.experts"})},
                                                                            {"alora_invocation_tokens", {1, 2}},
                                                                            {"layer_replication", Json::array({{0, 1}})}}) {
    Changed other("plain");
    other.config[key] = value;
    expect_adapter_refused(other.write(), {key, "not supported yet"});
  }
  Changed idle("plain");
  idle.config.update({{"qalora_group_size", 32},
                      {"megatron_core", "another"},
                      {"runtime_config", {{"ephemeral_gpu_offload", true}}},
                      {"eva_config", {{"rho", 2}}},
                      {"velora_config", {{"rank", 1}}},
                      {"merge_weights", true},
                      {"nvfp4_merge_aware", {{"scale_mode", "fresh"}, {"start_step", 10}}},
                      {"auto_mapping", {{"base_model_class", "LlamaForCausalLM"}, {"unsloth_fixed", true}}}});
  EXPECT_NEAR(loss_with(kStored / "untied", idle.write()), cases()["plain"]["loss"].get<double>(), kLossTolerance);
}

TEST(StoredAdapters, EveryKeyOfPeftIsKnown) {
  const std::vector<std::string> known = config::lora_table().keys();
  const Json keys = read_json(kStored / "peft_keys.json", ErrorKind::kData);
  for (const auto& [key, version] : keys.items()) {
    EXPECT_THAT(known, testing::Contains(key)) << "of PEFT " << version;
  }
}

TEST(StoredAdapters, KeysThatFitNothingAreRefused) {
  const at::Tensor some = at::ones({2, 16});
  Changed other_method("plain");
  other_method.tensors.push_back({"base_model.model.model.layers.0.self_attn.q_proj.lora_E", some});
  expect_adapter_refused(other_method.write(), {"1 tensor with an unknown key", "lora_E"});

  Changed two("named");
  two.tensors.push_back({"base_model.model.model.layers.0.mlp.up_proj.lora_A.other.weight", some});
  expect_adapter_refused(two.write(), {"several adapters", "my_adapter", "other"});

  Changed doubled("plain");
  doubled.tensors.push_back({"model.layers.0.self_attn.q_proj.lora_A.weight", some});
  expect_adapter_refused(doubled.write(), {"under two keys"});

  Changed surplus("plain");
  surplus.tensors.push_back({"base_model.model.model.layers.0.mlp.up_proj.lora_A.weight", some});
  surplus.tensors.push_back({"base_model.model.model.layers.0.mlp.up_proj.lora_B.weight", at::ones({24, 2})});
  const TemporaryFolder scratch;
  const fs::path folder = surplus.write();
  expect_error(ErrorKind::kModel, {"2 tensors outside of this model and its target_modules", "up_proj"},
               [&] { loss_with(kStored / "untied", folder); });
  expect_error(ErrorKind::kModel, {"1 module outside of target_modules", "up_proj"},
               [&] { merge_into(kStored / "untied", folder, scratch / "merged"); });

  Changed half("plain");
  half.tensors.pop_back();
  expect_error(ErrorKind::kModel, {"1 tensor missing"}, [folder = half.write()] { loss_with(kStored / "untied", folder); });

  Changed sharded("plain");
  sharded.tensors.front().tensor = at::empty({0});
  expect_adapter_refused(sharded.write(), {"1 tensor without values", "ZeRO-3"});

  Changed unknown_base("plain");
  unknown_base.tensors.push_back({"base_model.model.model.layers.7.mlp.up_proj.weight", some});
  expect_error(ErrorKind::kModel, {"1 tensor outside of this model", "layers.7"},
               [folder = unknown_base.write()] { loss_with(kStored / "untied", folder); });
}

TEST(StoredAdapters, ALargerVocabularyNeedsTheResizedBase) {
  Changed larger("resized");
  for (io::NamedTensor& named : larger.tensors) {
    if (named.name.ends_with("lm_head.weight") || named.name.ends_with("embed_tokens.weight")) {
      named.tensor = at::cat({named.tensor, at::zeros({3, 16})});
    }
  }
  expect_error(ErrorKind::kModel, {"another shape", "[43, 16] instead of [40, 16]", "resized"},
               [folder = larger.write()] { loss_with(kStored / "untied", folder); });
}

TEST(StoredAdapters, FoldersWithoutWeightsNameTheFlag) {
  const TemporaryFolder scratch;
  expect_error(ErrorKind::kModel, {"[--adapter]", "which does not exist"}, [&] { config::read_adapter_folder(scratch / "nothere"); });
  // PEFT saves an adapter of another name than "default" in a folder of that name.
  scratch.write("named/mine/adapter_config.json", "{}");
  expect_error(ErrorKind::kModel, {"[--adapter]", "named/mine"}, [&] { config::read_adapter_folder(scratch / "named"); });
  scratch.write("empty/adapter_config.json", R"({"peft_type": "LORA"})");
  expect_error(ErrorKind::kModel, {"adapter_model.safetensors or adapter_model.bin"},
               [&] { loss_with(kStored / "untied", scratch / "empty"); });
}

}  // namespace
}  // namespace lora::test
