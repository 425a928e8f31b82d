// training.profile: the trace and the table of a run.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <sstream>

#include "lora/base/file.h"
#include "process.h"

namespace lora::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

/// The number after `name` in the first line that begins with it, apart from leading spaces.
double milliseconds(const std::string& text, const std::string& name) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("  " + name + " ")) {
      return std::stod(line.substr(2 + name.size()));
    }
  }
  return -1;
}

TEST(Profile, WritesATraceAndATableOfTimes) {
  const TemporaryFolder scratch;
  const std::string config = copy_case("gqa", scratch).string();
  const Outcome outcome = lora_train({"--config", config, "--set", "training.profile={\"steps\": [3, 6]}"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("Profile of steps 3 to 6, per step:"));
  EXPECT_THAT(outcome.err, Not(HasSubstr("USDT"))) << "Kineto's own lines";
  EXPECT_THAT(outcome.err, Not(HasSubstr("ERROR")));
  const double all = milliseconds(outcome.err, "total");
  EXPECT_GT(all, 0);
  double sum = 0;
  for (const char* kind : {"GEMM", "attention", "LoRA", "loss", "optimizer", "data", "other"}) {
    EXPECT_GE(milliseconds(outcome.err, kind), 0) << kind;
    sum += milliseconds(outcome.err, kind);
  }
  EXPECT_NEAR(sum, all, 0.01);
  for (const char* kind : {"GEMM", "attention", "LoRA", "loss", "optimizer", "data"}) {
    EXPECT_GT(milliseconds(outcome.err, kind), 0) << kind;
  }
  EXPECT_EQ(files_in(scratch / "gqa/out/profile"), std::vector<std::string>{"trace-3-6.json"});
  std::map<std::string, int> count;
  const Json trace = Json::parse(read_text(scratch / "gqa/out/profile/trace-3-6.json"));
  for (const Json& event : trace["traceEvents"]) {
    count[event.value("name", "")] += event.value("ph", "") == "X" ? 1 : 0;
  }
  EXPECT_EQ(count["lora::step"], 4);
  EXPECT_EQ(count["lora::optimizer"], 4);
  EXPECT_EQ(count["lora::data"], 8) << "two batches per step";
  EXPECT_EQ(count["lora::loss"], 8);
  EXPECT_GT(count["aten::mm"] + count["aten::addmm"], 0);

  const std::string result = sha256_of_file(scratch / "gqa/out/adapter_model.safetensors", ErrorKind::kOutput);
  const Outcome plain = lora_train({"--config", config, "--set", "output_dir=plain"});
  EXPECT_THAT(plain.err, Not(HasSubstr("Profile")));
  EXPECT_FALSE(fs::exists(scratch / "gqa/plain/profile"));
  EXPECT_EQ(sha256_of_file(scratch / "gqa/plain/adapter_model.safetensors", ErrorKind::kOutput), result);
  EXPECT_THAT(lora_train({"--config", config}).err, HasSubstr("already finished")) << "the profile is no part of the run's identity";
}

TEST(Profile, WarnsOfStepsBeyondTheEnd) {
  const TemporaryFolder scratch;
  const std::string config = copy_case("gqa", scratch).string();
  const Outcome cut = lora_train({"--config", config, "--set", "training.max_steps=2", "--set", "training.profile={\"steps\": [2, 9]}"});
  ASSERT_EQ(cut.exit_code, 0) << cut.err;
  EXPECT_THAT(cut.err, HasSubstr("warning: [training.profile.steps] is beyond the end of the run: found [2,9], expected at most 2. The "
                                 "trace ends with the run."));
  EXPECT_THAT(cut.err, HasSubstr("Profile of steps 2 to 2"));
  EXPECT_TRUE(fs::exists(scratch / "gqa/out/profile/trace-2-2.json"));

  const Outcome none = lora_train(
      {"--config", config, "--set", "output_dir=none", "--set", "training.max_steps=2", "--set", "training.profile={\"steps\": [3, 9]}"});
  EXPECT_EQ(none.exit_code, 0);
  EXPECT_THAT(none.err, HasSubstr("found [3,9], expected at most 2. Nothing is profiled."));
  EXPECT_FALSE(fs::exists(scratch / "gqa/none/profile"));
}

}  // namespace
}  // namespace lora::test
