// Bases that are quantised while they are loaded, as a user's script sees them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lora/base/file.h"
#include "process.h"
#include "support/paths.h"

namespace lora::test {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class Quantization : public testing::Test {
 protected:
  void SetUp() override {
    fs::copy(kData / "quantized/training/nf4", folder_, fs::copy_options::recursive);
    ASSERT_TRUE(fs::exists(config_));
  }

  Outcome train(const std::vector<std::string>& settings, const std::vector<std::string>& more = {}) const {
    std::vector<std::string> arguments{"--config", config_.string(), "--set", "training.max_steps=2"};
    for (const std::string& setting : settings) {
      arguments.insert(arguments.end(), {"--set", setting});
    }
    arguments.insert(arguments.end(), more.begin(), more.end());
    return lora_train(arguments);
  }
  Arguments eval(const std::string& adapter) const {
    return {"lora-eval", "--model", (folder_ / "model").string(),      "--adapter", (folder_ / adapter).string(),
            "--data",    (folder_ / "eval.jsonl").string(), "--format", "tokens",    "--dtype", "float32"};
  }

  TemporaryFolder scratch_;
  fs::path folder_ = scratch_.path() / "case";
  fs::path config_ = folder_ / "run.json";
};

TEST_F(Quantization, TheSummarySaysWhatIsPacked) {
  const Outcome shown = train({}, {"--dry-run"});
  EXPECT_EQ(shown.exit_code, 0) << shown.err;
  EXPECT_THAT(shown.err + shown.out, HasSubstr("quantised    nf4 (14 matrices, "));
  EXPECT_THAT(train({"model.quantization=null"}, {"--dry-run"}).err, Not(HasSubstr("quantised ")));
  const Outcome skipped = train({R"(model.quantization={"type": "int8", "skip_modules": ["up_proj", "q_porj"]})"}, {"--dry-run"});
  EXPECT_THAT(skipped.err + skipped.out,
              AllOf(HasSubstr("quantised    int8 (12 matrices, "),
                    HasSubstr("projections of plain numbers: model.layers.0.mlp.up_proj, model.layers.1.mlp.up_proj"),
                    HasSubstr("[model.quantization.skip_modules] no module of the model is meant by q_porj")));
}

TEST_F(Quantization, AWholePackedModuleIsRefused) {
  const Outcome refused =
      train({"adapter.init_from=null", "adapter.modules_to_save=[\"down_proj\"]", "adapter.target_modules=[\"q_proj\"]"});
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_THAT(refused.err,
              AllOf(HasSubstr("[adapter.modules_to_save]"), HasSubstr("'model.layers.0.mlp.down_proj'"), HasSubstr("skip_modules")));
  const Outcome kept = train({"adapter.init_from=null", "adapter.modules_to_save=[\"down_proj\"]", "adapter.target_modules=[\"q_proj\"]",
                              R"(model.quantization={"type": "nf4", "skip_modules": ["down_proj"]})"});
  EXPECT_EQ(kept.exit_code, 0) << kept.err;
}

TEST_F(Quantization, RunJsonHasTheSizeOfTheWeights) {
  ASSERT_EQ(train({}).exit_code, 0);
  const Json packed = read_json(folder_ / "out/run.json", ErrorKind::kModel)["model"];
  ASSERT_EQ(train({"model.quantization=null", "output_dir=plain", "adapter.init_from=null"}).exit_code, 0);
  const Json plain = read_json(folder_ / "plain/run.json", ErrorKind::kModel)["model"];
  EXPECT_FALSE(plain.contains("packed_bits_per_parameter"));
  // Each of these small matrices has a table of 64 bytes, next to its codes and scales.
  EXPECT_GT(packed["packed_bits_per_parameter"].get<double>(), 4.5);
  EXPECT_LT(packed["packed_bits_per_parameter"].get<double>(), 5.2);
  EXPECT_LT(packed["weight_bytes"].get<int64_t>(), plain["weight_bytes"].get<int64_t>() / 2);
}

TEST_F(Quantization, AResumedRunHasTheSame) {
  ASSERT_EQ(train({}).exit_code, 0);
  const Outcome other = train({R"(model.quantization={"type": "nf4", "double_quant": true})"});
  EXPECT_EQ(other.exit_code, 6);
  EXPECT_THAT(other.err, HasSubstr("model.quantization.double_quant"));
}

TEST_F(Quantization, AnAdapterKnowsHowItsBaseWasQuantised) {
  ASSERT_EQ(train({}).exit_code, 0);
  const Outcome same = run_tool(with(eval("out"), {"--quantize", "nf4"}));
  EXPECT_EQ(same.exit_code, 0) << same.err;
  EXPECT_THAT(same.err, Not(HasSubstr("was trained on")));
  const Outcome plain = run_tool(eval("out"));
  EXPECT_EQ(plain.exit_code, 0) << plain.err;
  EXPECT_THAT(plain.err, AllOf(HasSubstr("was trained on nf4 (14 matrices"), HasSubstr("is used on a base of plain numbers")));
  EXPECT_THAT(run_tool(with(eval("out"), {"--quantize", "nf4-dq"})).err, HasSubstr("and is used on nf4-dq (14 matrices"));
}

TEST_F(Quantization, LoftqTrains) {
  const Outcome trained = train({"adapter.init_from=null", "adapter.init_lora_weights=loftq"});
  EXPECT_EQ(trained.exit_code, 0) << trained.err;
  EXPECT_THAT(run_tool(eval("out")).err, HasSubstr("It was initialised by LoftQ"));
}

TEST_F(Quantization, FaultsOfTheFlag) {
  const Outcome unknown = run_tool(with(eval("adapter"), {"--quantize", "nf5"}));
  EXPECT_EQ(unknown.exit_code, 2);
  EXPECT_THAT(unknown.err, HasSubstr("[--quantize] found 'nf5', expected one of nf4, nf4-dq, fp4, fp4-dq, int8"));
}

}  // namespace
}  // namespace lora::test
