// `adapter` as an array: each adapter equals the result of its own run, bit by bit.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <thread>

#include "lora/base/file.h"
#include "process.h"

namespace lora::test {
namespace {

using testing::HasSubstr;

const char* const kWide = R"({"r": 4, "target_modules": "all-linear", "lora_dropout": 0.1})";
const char* const kChangesBase = R"({"r": 2, "target_modules": ["q_proj"], "init_lora_weights": "pissa"})";
const char* const kLast = R"({"target_modules": ["v_proj"]})";

/// The object with these keys added.
std::string with_keys(const char* adapter, const Json& keys) {
  Json object = Json::parse(adapter);
  object.update(keys);
  return object.dump();
}

std::string list_of_three() {
  return "adapter=[" + with_keys(kWide, {{"name", "wide"}}) + "," + with_keys(kChangesBase, {{"name", "pissa"}, {"learning_rate", 0.01}}) +
         "," + kLast + "]";
}

std::string weights_hash(const fs::path& folder) {
  return sha256_of_file(folder / "adapter_model.safetensors", ErrorKind::kOutput);
}

class SeveralAdapters : public testing::Test {
 protected:
  void SetUp() override { config_ = copy_case("gqa", scratch_).string(); }
  std::vector<std::string> command(const std::vector<std::string>& overrides) const {
    std::vector<std::string> arguments{"--config", config_, "--set", "training.max_steps=6", "--set", "training.save_steps=2"};
    for (const std::string& override : overrides) {
      arguments.insert(arguments.end(), {"--set", override});
    }
    return arguments;
  }
  fs::path folder(const std::string& name) const { return scratch_ / ("gqa/" + name); }

  /// Trains each adapter in its own run, into alone/<i>.
  void train_alone() const {
    const std::vector<std::pair<const char*, const char*>> runs{
        {kWide, "training.logging_steps=1"}, {kChangesBase, "training.learning_rate=0.01"}, {kLast, "training.logging_steps=1"}};
    for (size_t i = 0; i < runs.size(); ++i) {
      const Outcome outcome =
          lora_train(command({std::string("adapter=") + runs[i].first, runs[i].second, "output_dir=alone/" + std::to_string(i)}));
      ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    }
  }
  void expect_as_alone(const std::string& out) const {
    EXPECT_EQ(weights_hash(folder(out + "/wide")), weights_hash(folder("alone/0")));
    EXPECT_EQ(weights_hash(folder(out + "/pissa")), weights_hash(folder("alone/1")));
    EXPECT_EQ(weights_hash(folder(out + "/adapter_2")), weights_hash(folder("alone/2")));  // its name by default
  }

  TemporaryFolder scratch_;
  std::string config_;
};

TEST_F(SeveralAdapters, EachEqualsItsOwnRun) {
  train_alone();
  const Outcome outcome = lora_train(command({list_of_three()}));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("Adapter 2 of 3: pissa"));
  expect_as_alone("out");
  // Each folder is that of a single run: the single config finds it finished.
  const Outcome single = lora_train(command({std::string("adapter=") + kLast, "output_dir=out/adapter_2"}));
  EXPECT_EQ(single.exit_code, 0);
  EXPECT_THAT(single.err, HasSubstr("already finished"));
}

TEST_F(SeveralAdapters, AreInspectedTogether) {
  const Outcome outcome = lora_train(command({list_of_three(), "training.max_steps=1"}));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const Outcome inspected = run_tool({"lora-inspect", folder("out").string(), "--json"});
  ASSERT_EQ(inspected.exit_code, 0) << inspected.err;
  const Json facts = Json::parse(inspected.out);
  EXPECT_EQ(facts["kind"], "runs");
  ASSERT_EQ(facts["runs"].size(), 3);
  EXPECT_EQ(facts["runs"][2]["path"], folder("out/wide").string());
  EXPECT_EQ(facts["runs"][2]["run"]["status"], "finished");
  EXPECT_THAT(run_tool({"lora-inspect", folder("out").string()}).out, testing::AllOf(HasSubstr("out: 3"), HasSubstr("out/pissa")));
}

TEST_F(SeveralAdapters, ResumeAfterAKill) {
  train_alone();
  const std::vector<std::string> run = command({list_of_three(), "output_dir=killed"});
  {
    Process process(lora_train_command(run));
    for (int i = 0; i < 6000 && !fs::exists(folder("killed/pissa/checkpoint-2/MANIFEST.json")); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    process.signal(SIGKILL);
    process.wait();
  }
  const Outcome finished = lora_train(run);
  ASSERT_EQ(finished.exit_code, 0) << finished.err;
  EXPECT_THAT(finished.err, HasSubstr("already finished"));  // the first one
  expect_as_alone("killed");
}

TEST_F(SeveralAdapters, ErrorsInALaterOneAreReportedBeforeTheFirstIsTrained) {
  const Outcome wrong_target = lora_train(command({"adapter=[" + std::string(kWide) + R"(,{"target_modules": ["nothing"]}])"}));
  EXPECT_EQ(wrong_target.exit_code, 2);
  EXPECT_THAT(wrong_target.err, HasSubstr("'nothing'"));
  EXPECT_FALSE(fs::exists(folder("out/adapter_0/metrics.jsonl")));

  fs::create_directories(folder("out/adapter_1"));
  write_text(folder("out/adapter_1/adapter_config.json"), "{}");  // another run's
  const Outcome taken = lora_train(command({"adapter=[" + std::string(kWide) + "," + kLast + "]"}));
  EXPECT_EQ(taken.exit_code, 6);
  EXPECT_FALSE(fs::exists(folder("out/adapter_0/metrics.jsonl")));

  const Outcome named = lora_train([&] {
    std::vector<std::string> arguments = command({"adapter=[" + std::string(kWide) + "," + kLast + "]", "output_dir=other"});
    arguments.insert(arguments.end(), {"--resume", folder("somewhere").string()});
    return arguments;
  }());
  EXPECT_EQ(named.exit_code, 2);
  EXPECT_THAT(named.err, HasSubstr("--resume"));
}

TEST_F(SeveralAdapters, ADryRunShowsEach) {
  std::vector<std::string> arguments = command({list_of_three()});
  arguments.emplace_back("--dry-run");
  const Outcome outcome = lora_train(arguments);
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, testing::AllOf(HasSubstr("target all-linear"), HasSubstr("target q_proj"), HasSubstr("target v_proj")));
  EXPECT_FALSE(fs::exists(folder("out")));
}

}  // namespace
}  // namespace lora::test
