#include <gmock/gmock.h>

#include <filesystem>

#include "lora/config/command_line.h"
#include "lora/peft/bottleneck_options.h"
#include "sandbox.h"
#include "support/expect_error.h"
#include "support/paths.h"

namespace lora::config {
namespace {

using peft::BottleneckOptions;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

Json with_bottleneck(const std::string& keys) {
  Json document = smallest();
  document["adapter"] = Json::parse(R"({"peft_type": "BOTTLENECK")" + (keys.empty() ? "" : ", " + keys) + "}");
  return document;
}

BottleneckOptions loaded(const Sandbox& sandbox, const std::string& keys) {
  return *sandbox.load(with_bottleneck(keys)).adapter.as<BottleneckOptions>();
}

TEST(BottleneckSection, EveryValueArrives) {
  const Sandbox sandbox;
  EXPECT_TRUE(loaded(sandbox, "").form.original_ln_before);  // seq_bn
  EXPECT_EQ(loaded(sandbox, R"("config": "parallel")").form.scaling, 4.0);
  // Single keys override the named configuration, wherever it stands.
  const BottleneckOptions options = loaded(sandbox, R"("reduction_factor": {"0": 8, "default": 2.5}, "scaling": "channel",
      "residual_before_ln": false, "non_linearity": "gelu", "leave_out": [1, 3], "ln_before": true, "ln_after": true, "dropout": 0.25,
      "adapter_residual_before_ln": true, "original_ln_before": true, "original_ln_after": false, "init_weights": "houlsby",
      "init_weights_seed": 5, "config": "double_seq_bn")");
  EXPECT_TRUE(options.mh_adapter && options.output_adapter);
  EXPECT_THAT(options.reduction_of_layers, ElementsAre(Pair(0, 8.0)));
  EXPECT_EQ(options.reduction_factor, 2.5);
  EXPECT_EQ(options.scaling, peft::BottleneckScaling::kChannel);
  EXPECT_EQ(options.form.residual, nn::BottleneckResidual::kNormed);
  EXPECT_EQ(options.form.activation, nn::BottleneckActivation::kGelu);
  EXPECT_THAT(options.leave_out, ElementsAre(1, 3));
  EXPECT_TRUE(options.ln_before && options.ln_after && options.form.adapter_residual_before_ln && options.form.original_ln_before);
  EXPECT_FALSE(options.form.original_ln_after || options.form.is_parallel);
  EXPECT_EQ(options.form.dropout, 0.25);
  EXPECT_EQ(options.init, peft::BottleneckInit::kHoulsby);
  EXPECT_EQ(options.init_weights_seed, 5);
  // What is resolved means the same when it is read again.
  const Json resolved = sandbox.load(with_bottleneck(R"("config": "par_bn", "mh_adapter": true)")).resolved;
  Json again = smallest();
  again["adapter"] = resolved["adapter"];
  EXPECT_EQ(sandbox.load(again).resolved["adapter"], resolved["adapter"]);
  EXPECT_EQ(resolved["adapter"]["reduction_factor"], 2);
}

TEST(BottleneckSection, WrongValuesAreFindings) {
  const Sandbox sandbox;
  const auto expect = [&sandbox](const std::string& keys, const std::string& finding) {
    EXPECT_THAT(sandbox.findings(with_bottleneck(keys)), ElementsAre(HasSubstr(finding)));
  };
  expect(R"("config": "seq")", "[adapter.config] found \"seq\"");
  expect(R"("config": "compacter")", "[adapter.config] found \"compacter\"");
  expect(R"("reduction_factor": 0)", "[adapter.reduction_factor] found 0");
  expect(R"("reduction_factor": {"first": 2})", "[adapter.reduction_factor.first] found this key");
  expect(R"("residual_before_ln": "post_add", "config": "double_seq_bn")", "[adapter.residual_before_ln] found \"post_add\"");
  expect(R"("mh_adapter": false, "output_adapter": false)", "[adapter.output_adapter] found false with mh_adapter false");
  expect(R"("scaling": "both")", "[adapter.scaling] found \"both\"");
  expect(R"("phm_layer": true)", "[adapter.phm_layer] found true");
  expect(R"("use_gating": true)", "[adapter.use_gating] found true");
  expect(R"("dropout": 1)", "[adapter.dropout] found 1");
  expect(R"("lora_alpha": 8)", "[adapter.lora_alpha] unknown key");
  EXPECT_THAT(sandbox.findings(with_bottleneck(R"("phm_dim": 4, "phm_layer": false, "inv_adapter": null)")), IsEmpty());
}

TEST(BottleneckSection, AFolderOfTheLibraryGivesItsOptions) {
  const std::filesystem::path data = std::filesystem::path(test::data_folder()) / "bottleneck";
  const peft::MethodOptions stored = read_adapter_folder(data / "double_llama" / "adapter");
  const auto* const options = stored.as<BottleneckOptions>();
  ASSERT_NE(options, nullptr);
  EXPECT_TRUE(options->mh_adapter);
  EXPECT_THAT(options->reduction_of_layers, ElementsAre(Pair(0, 4.0)));
  EXPECT_EQ(options->reduction_factor, 2.5);
  EXPECT_FALSE(stored->config.contains("task_type"));
  // One with the head of a sequence classification is an adapter of that task.
  EXPECT_EQ(read_adapter_folder(data / "seq_bert" / "adapter")->config["task_type"], "SEQ_CLS");

  const Sandbox sandbox;
  const std::string start = R"("init_from": ")" + (data / "double_llama" / "adapter").string() + '"';
  EXPECT_TRUE(loaded(sandbox, start).mh_adapter);
  EXPECT_THAT(sandbox.findings(with_bottleneck(start + R"(, "reduction_factor": 3)")),
              ElementsAre(HasSubstr("[adapter.reduction_factor] found 3, but the adapter of init_from has")));
  EXPECT_THAT(sandbox.findings(with_bottleneck(start + R"(, "config": "seq_bn")")),
              ElementsAre(HasSubstr("[adapter.config] found \"seq_bn\", but the adapter of init_from has")));
}

TEST(BottleneckSection, ActivationsOfOlderFilesHaveOlderNames) {
  const Sandbox sandbox;
  sandbox.write("old/adapter.safetensors", "");
  const auto read = [&sandbox](const std::string& version) {
    sandbox.write("old/adapter_config.json", R"({"config": {"mh_adapter": true, "output_adapter": true, "reduction_factor": 16,
        "non_linearity": "gelu"}, "hidden_size": 8, "name": "old")" + version + "}");
    return read_adapter_folder(sandbox.folder() / "old").as<BottleneckOptions>()->form;
  };
  EXPECT_EQ(read("").activation, nn::BottleneckActivation::kGeluTanh);
  EXPECT_EQ(read(R"(, "version": "adapters.1.0.0")").activation, nn::BottleneckActivation::kGelu);
  EXPECT_FALSE(read("").original_ln_before);  // the library's default
  sandbox.write("old/head_config.json", R"({"model_class": null})");
  EXPECT_FALSE(read_adapter_folder(sandbox.folder() / "old")->config.contains("task_type"));
}

TEST(TrainParameters, AreOnlyWithoutAnAdapter) {
  const Sandbox sandbox;
  Json document = smallest();
  document["training"] = {{"train_parameters", {"norm", "bias$"}}};
  EXPECT_THAT(sandbox.findings(document), ElementsAre(HasSubstr("[training.train_parameters] found [\"norm\",\"bias$\"] with an adapter")));
  document["adapter"] = nullptr;
  EXPECT_THAT(*sandbox.load(document).training.train_parameters, ElementsAre("norm", "bias$"));
  document["training"]["train_parameters"] = {"norm", "layers.(1"};
  EXPECT_THAT(sandbox.findings(document), ElementsAre(HasSubstr("[training.train_parameters[1]] 'layers.(1' is not a valid regular")));
  document["training"]["train_parameters"] = Json::array();
  EXPECT_THAT(sandbox.findings(document), ElementsAre(HasSubstr("[training.train_parameters] found []")));
}

}  // namespace
}  // namespace lora::config
