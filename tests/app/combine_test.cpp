// lora-merge --combine of adapters of IA3 against PEFT.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "process.h"
#include "support/paths.h"
#include "tensor_file.h"

namespace lora::test {
namespace {

using testing::HasSubstr;

/// tests/data/combine_ia3 has PEFT's sum of two adapters (scripts/golden/combine_ia3.py).
TEST(Combine, AddsVectorsOfIa3AsPeft) {
  const TemporaryFolder scratch;
  const Json expected = Json::parse(read_text(kData / "combine_ia3/expected.json"));
  const std::string first = (kData / "llama/ia3/adapter").string(), second = (kData / "combine_ia3/second").string();
  const auto combine = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments{"lora-merge", "--output", (scratch / "both").string(), "--adapter", first};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_tool(arguments);
  };
  const std::vector<std::string> both{"--adapter", second, "--weight", "0.7", "--weight", "-0.4", "--combine", "linear"};
  const Outcome combined = combine(both);
  ASSERT_EQ(combined.exit_code, 0) << combined.err;
  const auto tensors = stored_tensors(scratch / "both");
  ASSERT_EQ(tensors.size(), expected["vectors"].size());
  for (const auto& [module, values] : expected["vectors"].items()) {
    const std::vector<float> found = tensors.at("base_model.model." + module + ".ia3_l").values();
    ASSERT_EQ(found.size(), values.size()) << module;
    for (size_t i = 0; i < found.size(); ++i) {
      EXPECT_NEAR(found[i], values[i].get<double>(), 1e-6) << module;
    }
  }
  const Json config = Json::parse(read_text(scratch / "both/adapter_config.json"));
  EXPECT_EQ(config["peft_type"], "IA3");
  EXPECT_EQ(config["target_modules"], Json({"down_proj", "k_proj", "q_proj", "v_proj"}));
  EXPECT_EQ(config["feedforward_modules"], Json({"down_proj"}));
  const Outcome inspected = run_tool({"lora-inspect", (scratch / "both").string()});
  EXPECT_EQ(inspected.exit_code, 0) << inspected.err;

  const auto refused = [&](const std::vector<std::string>& more, const std::vector<std::string>& parts) {
    const Outcome outcome = combine(more);
    EXPECT_THAT(outcome.exit_code, testing::AnyOf(2, 4)) << outcome.err;
    for (const std::string& part : parts) {
      EXPECT_THAT(outcome.err, HasSubstr(part));
    }
  };
  refused({"--overwrite", "--adapter", second, "--combine", "cat"}, {"'cat'", "IA3", "linear"});
  refused({"--overwrite", "--adapter", (kData / "llama/gqa/adapter").string(), "--combine", "linear"}, {"LoRA", "IA3"});
  refused({"--overwrite", "--adapter", (kData / "llama/adalora/adapter").string(), "--combine", "linear"}, {"AdaLoRA", "--to-lora"});
}

}  // namespace
}  // namespace lora::test
