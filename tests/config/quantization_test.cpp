#include <gmock/gmock.h>

#include "sandbox.h"

namespace lora::config {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(Quantization, EveryValueArrives) {
  const Sandbox sandbox;
  const auto load = [&](const std::string& value) { return sandbox.load(smallest(), {"model.quantization=" + value}); };
  EXPECT_EQ(load("null").model.quantization, std::nullopt);
  const RunConfig defaults = load(R"({"type": "nf4"})");
  EXPECT_TRUE(defaults.model.quantises());
  EXPECT_EQ(defaults.resolved["model"]["quantization"],
            Json::parse(R"({"type": "nf4", "double_quant": false, "block_size": 64, "skip_modules": null})"));
  const RunConfig all = load(R"({"type": "fp4", "double_quant": true, "block_size": 128, "skip_modules": ["down_proj"]})");
  EXPECT_EQ(all.model.quantization->type, models::QuantizationKind::kFp4);
  EXPECT_TRUE(all.model.quantization->double_quant);
  EXPECT_EQ(all.model.quantization->block_size, 128);
  EXPECT_THAT(all.model.quantization->skip_modules, ElementsAre("down_proj"));
  EXPECT_FALSE(load(R"({"type": "none"})").model.quantises());
}

TEST(Quantization, Findings) {
  const Sandbox sandbox;
  const std::vector<std::pair<std::string, std::string>> cases{
      {"model.quantization=nf4", "[model.quantization] found \"nf4\", expected an object"},
      {"model.quantization={}", "[model.quantization.type] is missing"},
      {"model.quantization={\"type\": \"int4\"}",
       "[model.quantization.type] found \"int4\", expected one of \"nf4\", \"fp4\", \"int8\", \"none\""},
      {"model.quantization={\"type\": \"nf4\", \"block_size\": 48}", "[model.quantization.block_size] found 48, expected one of 32, 64"},
      {"model.quantization={\"type\": \"nf4\", \"double_quant\": 1}", "[model.quantization.double_quant] found 1"},
      {"model.quantization={\"type\": \"nf4\", \"skip_modules\": \"lm_head\"}", "[model.quantization.skip_modules] found \"lm_head\""},
      {"model.quantization={\"type\": \"nf4\", \"skip_modules\": [\"(\"]}",
       "[model.quantization.skip_modules[0]] found \"(\", expected a name or a regular expression"},
      {"model.quantization={\"type\": \"nf4\", \"bits\": 4}", "[model.quantization.bits] unknown key"},
  };
  for (const auto& [setting, finding] : cases) {
    EXPECT_THAT(sandbox.findings(smallest(), {setting}), ElementsAre(HasSubstr(finding))) << setting;
  }
}

TEST(Quantization, Exclusions) {
  const Sandbox sandbox;
  const auto expect = [&](const std::vector<std::string>& settings, const std::vector<std::string>& expected) {
    EXPECT_EQ(sandbox.findings(smallest(), settings), expected) << settings[0];
  };
  const auto packed = [](const std::string& keys) { return "model.quantization={" + keys + "}"; };
  const std::string int8 = packed("\"type\": \"int8\""), loftq = "adapter.init_lora_weights=loftq";
  expect(
      {packed("\"type\": \"nf4\""), "adapter=null"},
      {"[adapter] found null with model.quantization, expected an object: quantised weights cannot be trained themselves, only an adapter "
       "on them"});
  expect(
      {packed("\"type\": \"int8\", \"double_quant\": true, \"block_size\": 128")},
      {"[model.quantization.double_quant] found true with model.quantization.type \"int8\", expected false: this format has a scale for "
       "each row, not for each block",
       "[model.quantization.block_size] found 128 with model.quantization.type \"int8\", expected no such key: this format has a scale for "
       "each row, not for each block"});
  expect(
      {packed("\"type\": \"none\", \"skip_modules\": [\"q_proj\"]")},
      {"[model.quantization.skip_modules] found [\"q_proj\"] with model.quantization.type \"none\", expected null: nothing is quantised"});
  expect({packed("\"type\": \"none\""), "adapter=null"}, {});
  expect({loftq}, {"[model.quantization] found null with adapter.init_lora_weights \"loftq\", expected an object, such as {\"type\": "
                   "\"nf4\"}: LoftQ starts from the error that quantising a plain base makes"});
  expect({loftq, packed("\"type\": \"none\"")},
         {"[model.quantization.type] found \"none\" with adapter.init_lora_weights \"loftq\", expected nf4, fp4 or int8"});
  expect({loftq, int8, "adapter.loftq_config={\"loftq_bits\": 4}"},
         {"[adapter.loftq_config.loftq_bits] found 4 with model.quantization.type \"int8\", expected 8"});
  expect({loftq, int8, "adapter.loftq_config={}"}, {});
  const std::string module = "model.path=net.pt";
  expect({module, packed("\"type\": \"nf4\"")},
         {"[model.quantization] found {\"type\":\"nf4\",\"double_quant\":false,\"block_size\":64,\"skip_mod…, expected null: a "
          "TorchScript model keeps its own weights"});
}

/// Its values are those of a file, whatever the base was when LoftQ made them.
TEST(Quantization, LoftqIsNoStartOfAnAdapterThatContinuesAnother) {
  const Sandbox sandbox;
  sandbox.write("start/adapter_config.json", R"({"peft_type": "LORA", "target_modules": ["q_proj"], "init_lora_weights": "loftq",
                                                 "loftq_config": {"loftq_bits": 4, "loftq_iter": 1}})");
  for (const char* base : {"null", R"({"type": "nf4"})", R"({"type": "int8"})", R"({"type": "none"})"}) {
    EXPECT_THAT(sandbox.findings(smallest(), {"adapter.init_from=start", std::string("model.quantization=") + base}), IsEmpty()) << base;
  }
}

}  // namespace
}  // namespace lora::config
