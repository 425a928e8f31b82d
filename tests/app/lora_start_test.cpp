// Adapters that are initialised from the weights or from the data.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <cmath>
#include <thread>

#include "lora/base/file.h"
#include "process.h"

namespace lora::test {
namespace {

using ::testing::HasSubstr;

/// Only the training rows of metrics.jsonl.
std::vector<Json> steps_of(const fs::path& folder) {
  std::vector<Json> steps;
  for (const Json& row : read_rows(folder / "metrics.jsonl")) {
    if (row.contains("loss")) {
      steps.push_back(row);
    }
  }
  return steps;
}

void expect_losses(const fs::path& folder, const Json& expected, size_t num_steps) {
  const std::vector<Json> steps = steps_of(folder);
  ASSERT_EQ(steps.size(), expected["steps"].size());
  for (size_t i = 0; i < num_steps; ++i) {
    const double loss = expected["steps"][i]["loss"].get<double>();
    EXPECT_NEAR(steps[i]["loss"].get<double>(), loss, 1e-5 * loss) << "step " << i + 1;
  }
}

/// A run that is killed and resumed equals an uninterrupted one, bit by bit.
void expect_resumes(const std::string& name, const TemporaryFolder& scratch, const std::string& config) {
  const std::vector<std::string> command{"--config", config, "--set", "training.save_steps=3", "--set", "output_dir=killed"};
  int exit_code = 0;
  for (int trial = 0; trial < 20 && exit_code == 0; ++trial) {  // it may finish before it is killed
    fs::remove_all(scratch / (name + "/killed"));
    Process process(lora_train_command(command));
    const fs::path manifest = scratch / (name + "/killed/checkpoint-9/MANIFEST.json");
    for (int i = 0; i < 12000 && !fs::exists(manifest); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    process.signal(SIGKILL);
    exit_code = process.wait().exit_code;
  }
  const Outcome finished = lora_train(command);
  ASSERT_EQ(finished.exit_code, 0) << finished.err;
  EXPECT_THAT(finished.err, HasSubstr("Resuming from "));
  EXPECT_THAT(finished.err, testing::Not(HasSubstr("computing the initial adapter")));
  EXPECT_EQ(result_hash(scratch / (name + "/killed")), result_hash(scratch / (name + "/out")));
}

TEST(Start, RunsEqualPeftsAndResumeBitByBit) {
  for (const std::string name : {"pissa", "olora", "eva", "corda", "lora_ga"}) {
    SCOPED_TRACE(name);
    const TemporaryFolder scratch;
    const std::string config = copy_case(name, scratch).string();
    const Outcome outcome = lora_train({"--config", config});
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    // The signs of LoRA-GA's singular vectors, which later steps depend on, are random in PEFT.
    expect_losses(scratch / (name + "/out"), Json::parse(read_text(scratch / (name + "/expected.json"))), name == "lora_ga" ? 1 : 20);
    expect_resumes(name, scratch, config);
  }
}

TEST(Start, TheResultOfPissaFitsTheUnchangedBaseModel) {
  const TemporaryFolder scratch;
  const std::string config = copy_case("pissa", scratch).string();
  ASSERT_EQ(lora_train({"--config", config, "--set", "training.save_steps=20"}).exit_code, 0);
  const fs::path out = scratch / "pissa/out";
  const Json written = Json::parse(read_text(out / "adapter_config.json"));
  EXPECT_EQ(written["init_lora_weights"], true);
  EXPECT_EQ(written["r"], 8);
  EXPECT_EQ(written["rank_pattern"], Json({{"k_proj", 6}}));
  // A checkpoint is the same two files.
  EXPECT_EQ(result_hash(out), result_hash(out / "checkpoint-20"));
  EXPECT_EQ(read_text(out / "adapter_config.json"), read_text(out / "checkpoint-20/adapter_config.json"));
  // Training it further, as a LoRA of twice the rank, starts where the run ended.
  const auto last_eval = [](const fs::path& folder, size_t row) {
    return read_rows(folder / "metrics.jsonl").at(row)["eval_loss"].get<double>();
  };
  const Outcome next = lora_train({"--config", config, "--set", R"(adapter={"peft_type": "LORA", "init_from": "out"})", "--set",
                                   "training.eval_on_start=true", "--set", "training.max_steps=1", "--set", "output_dir=next"});
  ASSERT_EQ(next.exit_code, 0) << next.err;
  const double ended = last_eval(out, read_rows(out / "metrics.jsonl").size() - 1);
  EXPECT_NEAR(last_eval(scratch / "pissa/next", 0), ended, 1e-5 * ended);
}

/// Also a base that is packed and therefore cannot change: products subtract the start.
TEST(Start, ResultsOfDataStartsFitTheUnchangedBaseModel) {
  const std::vector<std::pair<std::string, std::string>> cases{{"lora_ga", "null"}, {"corda", R"({"type": "int8"})"}};
  for (const auto& [name, quantization] : cases) {
    const TemporaryFolder scratch;
    const std::string config = copy_case(name, scratch).string(), base = "model.quantization=" + quantization;
    const Outcome first = lora_train({"--config", config, "--set", base});
    ASSERT_EQ(first.exit_code, 0) << first.err;
    const fs::path out = scratch / (name + "/out");
    const Json written = Json::parse(read_text(out / "adapter_config.json"));
    EXPECT_EQ(written["init_lora_weights"], true);
    EXPECT_EQ(written["r"], name == "corda" ? 6 : 8);
    EXPECT_FALSE(written.contains(name + "_config"));
    const Outcome next = lora_train({"--config", config, "--set", base, "--set", R"(adapter={"peft_type": "LORA", "init_from": "out"})",
                                     "--set", "training.eval_on_start=true", "--set", "training.max_steps=1", "--set", "output_dir=next"});
    ASSERT_EQ(next.exit_code, 0) << next.err;
    const double ended = read_rows(out / "metrics.jsonl").back()["eval_loss"].get<double>();
    EXPECT_NEAR(read_rows(scratch / (name + "/next/metrics.jsonl")).front()["eval_loss"].get<double>(), ended, 1e-5 * ended) << name;
  }
}

TEST(Start, LoraPlusTrainsBFaster) {
  const TemporaryFolder scratch;
  const std::string config = copy_case("gqa", scratch).string();
  const std::vector<std::string> plus{"--config", config, "--set", "training.weight_decay=0", "--set", "training.loraplus_lr_ratio=16"};
  const Outcome outcome = lora_train(plus);
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const Json expected = Json::parse(read_text(scratch / "gqa/expected.json"))["steps"];
  const std::vector<Json> steps = steps_of(scratch / "gqa/out");
  EXPECT_NEAR(steps[0]["loss"].get<double>(), expected[0]["loss"].get<double>(), 1e-4);
  EXPECT_EQ(steps[5]["learning_rate"], expected[5]["learning_rate"]);  // A's
  EXPECT_GT(std::abs(steps[5]["loss"].get<double>() - expected[5]["loss"].get<double>()), 1e-2);
}

TEST(Start, InvalidSettingsAreReportedBeforeTraining) {
  const TemporaryFolder scratch;
  const std::string pissa = copy_case("pissa", scratch).string();
  const std::string eva = copy_case("eva", scratch).string();
  const auto fails = [](const std::string& config, const std::vector<std::string>& settings, int exit_code, const std::string& part) {
    std::vector<std::string> command{"--config", config};
    for (const std::string& setting : settings) {
      command.insert(command.end(), {"--set", setting});
    }
    const Outcome outcome = lora_train(command);
    EXPECT_EQ(outcome.exit_code, exit_code) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(part));
    EXPECT_FALSE(fs::exists(fs::path(config).parent_path() / "out/run.json"));
  };
  fails(pissa, {"adapter.init_lora_weights=orthogonal"}, 2, "needs an even rank: found r 3");
  fails(pissa, {"adapter.r=11", "adapter.rank_pattern={}"}, 2,
        "found r 11 for model.layers.0.self_attn.k_proj, expected at most the smaller of its dimensions, 10");
  fails(pissa, {"adapter.use_rslora=true"}, 2, "[adapter.init_lora_weights] cannot be combined with use_rslora");
  fails(pissa, {"adapter.init_lora_weights=pissa_niter_0"}, 2, "found \"pissa_niter_0\"");
  fails(eva, {"adapter.eva_config.rho=20"}, 2, "[adapter.eva_config.rho] found 40 directions");
  const std::string corda = copy_case("corda", scratch).string();
  fails(corda, {"adapter.corda_config.corda_method=both"}, 2, "[adapter.corda_config.corda_method] found \"both\"");
  fails(corda, {"adapter.corda_config.cache_file=x.pt"}, 2, "PEFT's cache_file is not supported yet: found \"x.pt\"");
  fails(corda, {"adapter.init_lora_weights=eva"}, 2, "[adapter.corda_config] needs init_lora_weights \"corda\": found \"eva\"");
  fails(corda, {"adapter.r=13"}, 2, "\"corda\" starts from a part of the weight: found r 13");
  const std::string gradient = copy_case("lora_ga", scratch).string();
  fails(gradient, {"adapter.r=7"}, 2, "\"lora_ga\" needs two singular vectors of the gradient for each rank: found r 7");
  fails(gradient, {"adapter.lora_ga_config.direction=up"}, 2, "[adapter.lora_ga_config.direction] found \"up\"");
  fails(gradient, {"adapter.use_rslora=true"}, 2, "[adapter.init_lora_weights] cannot be combined with use_rslora");
  fails(gradient, {R"(model.quantization={"type": "int8"})"}, 2, "\"lora_ga\" starts from the gradient of the weight");
  fails(eva, {"adapter.r=10", "training.per_device_train_batch_size=1", "adapter.rank_pattern={}", "data.max_length=20"}, 3,
        "the batches are too small for EVA");
}

}  // namespace
}  // namespace lora::test
