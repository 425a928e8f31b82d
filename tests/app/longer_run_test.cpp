// Resumed runs: extended runs, keys that may differ, and runs that are refused because of keys that may not. Also what a dry run says.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lora/base/file.h"
#include "process.h"

namespace lora::test {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class LongerRun : public testing::Test {
 protected:
  /// lora-train on the case with these keys, into `out`.
  Outcome train(const std::string& out, std::vector<std::string> keys, const std::vector<std::string>& flags = {}) const {
    keys.insert(keys.begin(), {"data.shuffle=true", "adapter.lora_dropout=0.2", "output_dir=" + out});
    std::vector<std::string> arguments{"--config", config_};
    for (const std::string& key : keys) {
      arguments.insert(arguments.end(), {"--set", key});
    }
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    return lora_train(arguments);
  }
  fs::path folder(const std::string& out) const { return scratch_ / "tied" / out; }
  std::string result(const std::string& out) const { return sha256_of_file(folder(out) / "adapter_model.safetensors", ErrorKind::kModel); }
  Json rate_of(const std::string& out, int64_t step) const {
    for (const Json& row : read_rows(folder(out) / "metrics.jsonl")) {
      if (row.contains("loss") && row["step"] == step) {
        return row["learning_rate"];
      }
    }
    return nullptr;
  }

  TemporaryFolder scratch_;
  std::string config_ = copy_case("tied", scratch_).string();
};

const std::vector<std::string> kConstant{"training.lr_scheduler_type=constant", "training.warmup_steps=0"};

TEST_F(LongerRun, EqualsARunOfThatLengthWithAConstantSchedule) {
  ASSERT_EQ(train("whole", with(kConstant, {"training.max_steps=11"})).exit_code, 0);
  ASSERT_EQ(train("parts", with(kConstant, {"training.max_steps=6"})).exit_code, 0);
  const Outcome longer = train("parts", with(kConstant, {"training.max_steps=11", "training.logging_steps=3", "training.save_steps=4"}));
  ASSERT_EQ(longer.exit_code, 0) << longer.err;
  EXPECT_THAT(longer.err, AllOf(HasSubstr("Resuming from "), HasSubstr("checkpoint-6"), HasSubstr("training.max_steps: 6 there, 11 here")));
  EXPECT_EQ(result("parts"), result("whole"));
  EXPECT_THAT(train("parts", with(kConstant, {"training.max_steps=11"})).err, HasSubstr("already finished"));

  const Outcome shorter = train("parts", with(kConstant, {"training.max_steps=4"}));
  EXPECT_EQ(shorter.exit_code, 6);
  EXPECT_THAT(shorter.err, AllOf(HasSubstr("found step 11, expected at most 4"), HasSubstr("training.max_steps: 11 there, 4 here")));
  EXPECT_EQ(result("parts"), result("whole")) << "the result is unchanged";
}

TEST_F(LongerRun, FollowsTheScheduleOfItsNewLength) {
  const std::vector<std::string> linear{"training.lr_scheduler_type=linear", "training.warmup_steps=0", "training.learning_rate=0.01",
                                        "training.max_steps=-1"};
  ASSERT_EQ(train("out", with(linear, {"training.num_train_epochs=1"})).exit_code, 0);
  const int64_t first = read_json(folder("out") / "run.json", ErrorKind::kOutput)["result"]["steps"].get<int64_t>();
  const Outcome longer = train("out", with(linear, {"training.num_train_epochs=3"}));
  ASSERT_EQ(longer.exit_code, 0) << longer.err;
  EXPECT_THAT(longer.err, HasSubstr("training.num_train_epochs: 1 there, 3 here"));
  const auto total = static_cast<double>(3 * first);
  EXPECT_NEAR(rate_of("out", 1).get<double>(), 0.01, 1e-12) << "earlier steps keep their learning rate";
  EXPECT_NEAR(rate_of("out", first + 1).get<double>(), 0.01 * (total - static_cast<double>(first)) / total, 1e-12);
}

TEST_F(LongerRun, IsRefusedWithWhatDiffers) {
  ASSERT_EQ(train("out", {"training.max_steps=3", "training.learning_rate=0.01"}).exit_code, 0);
  const Outcome rate = train("out", {"training.max_steps=5", "training.learning_rate=0.002", "training.seed=7"});
  EXPECT_EQ(rate.exit_code, 6);
  EXPECT_THAT(rate.err, AllOf(HasSubstr("training.learning_rate: 0.01 there, 0.002 here"), HasSubstr("training.seed: "),
                              HasSubstr("7 here"), Not(HasSubstr("max_steps")), HasSubstr("--overwrite")));
  const Outcome named =
      train("next", {"training.max_steps=5", "training.learning_rate=0.002"}, {"--resume", (folder("out") / "checkpoint-3").string()});
  EXPECT_EQ(named.exit_code, 2);
  EXPECT_THAT(named.err, HasSubstr("training.learning_rate: 0.01 there, 0.002 here"));
  write_text(scratch_ / "tied/rows.jsonl", "{\"input_ids\": [1, 2, 3]}\n{\"input_ids\": [3, 2, 1]}\n");
  const Outcome rows = train("out", {"training.max_steps=3", "training.learning_rate=0.01"});
  EXPECT_EQ(rows.exit_code, 6);
  EXPECT_THAT(rows.err, HasSubstr("data.train: other content (rows.jsonl)"));
}

TEST_F(LongerRun, NeedsACheckpoint) {
  ASSERT_EQ(train("out", {"training.max_steps=3", "training.save_strategy=no"}).exit_code, 0);
  EXPECT_FALSE(fs::exists(folder("out") / "checkpoint-3"));
  const Outcome longer = train("out", {"training.max_steps=5", "training.save_strategy=no"});
  EXPECT_EQ(longer.exit_code, 6);
  EXPECT_THAT(longer.err, AllOf(HasSubstr("training.max_steps: 3 there, 5 here"), HasSubstr("no checkpoint")));
  EXPECT_THAT(
      train("out", {"training.max_steps=3", "training.save_strategy=no", "training.eval_steps=null", "training.eval_strategy=epoch"}).err,
      AllOf(HasSubstr("already finished"), HasSubstr("training.eval_strategy: null there, \"epoch\" here")));
}

TEST_F(LongerRun, ARunThatStoppedEarlyNeedsMorePatience) {
  // One row that differs from the evaluation rows, so that the evaluation soon gets worse.
  write_text(scratch_ / "tied/rows.jsonl", "{\"input_ids\": [1, 1, 1, 1, 1, 1, 1, 1]}\n");
  const std::vector<std::string> keys{"training.eval_steps=2", "training.save_steps=2", "training.learning_rate=0.05",
                                      "training.load_best_model_at_end=true", "training.lr_scheduler_type=constant"};
  const auto steps = [&] { return read_json(folder("out") / "run.json", ErrorKind::kOutput)["result"]["steps"].get<int64_t>(); };
  ASSERT_EQ(train("out", with(keys, {"training.max_steps=40", "training.early_stopping_patience=2"})).exit_code, 0);
  const int64_t stopped = steps();
  ASSERT_LT(stopped, 40) << "the test needs a run that stops early";
  const Outcome same = train("out", with(keys, {"training.max_steps=60", "training.early_stopping_patience=2"}));
  ASSERT_EQ(same.exit_code, 0) << same.err;
  EXPECT_THAT(same.err, HasSubstr("To continue it, increase training.early_stopping_patience"));
  EXPECT_EQ(steps(), stopped);
  const Outcome patient = train("out", with(keys, {"training.max_steps=60", "training.early_stopping_patience=4"}));
  ASSERT_EQ(patient.exit_code, 0) << patient.err;
  EXPECT_EQ(steps(), stopped + 4) << "two more evaluations";
}

TEST_F(LongerRun, ADryRunChecksOutputAndResume) {
  const auto dry = [&](const std::string& out, const std::vector<std::string>& keys = {}, std::vector<std::string> flags = {}) {
    flags.emplace_back("--dry-run");
    return train(out, keys, flags);
  };
  EXPECT_EQ(dry("/proc/foo").exit_code, 6);
  write_text(scratch_ / "tied/file", "x");
  EXPECT_EQ(dry("file").exit_code, 6);
  EXPECT_EQ(dry("file/below").exit_code, 6);
  const Outcome nowhere = dry("out", {}, {"--resume", "nothere"});
  EXPECT_EQ(nowhere.exit_code, 2);
  EXPECT_THAT(nowhere.err, HasSubstr("[--resume]"));
  EXPECT_FALSE(fs::exists(folder("out")));

  ASSERT_EQ(train("out", {"training.max_steps=3"}).exit_code, 0);
  const auto before = fs::last_write_time(folder("out"));
  EXPECT_THAT(dry("out", {"training.max_steps=3"}).err, HasSubstr("already finished"));
  const Outcome longer = dry("out", {"training.max_steps=5"});
  EXPECT_EQ(longer.exit_code, 0) << longer.err;
  EXPECT_THAT(longer.err, HasSubstr("checkpoint-3"));
  const Outcome other = dry("out", {"training.max_steps=3", "training.seed=9"});
  EXPECT_EQ(other.exit_code, 6);
  EXPECT_THAT(other.err, HasSubstr("training.seed"));
  EXPECT_EQ(dry("out", {"training.max_steps=3", "training.seed=9"}, {"--overwrite"}).exit_code, 0);
  EXPECT_EQ(dry("out", {"training.max_steps=2"}).exit_code, 6) << "fewer steps than the checkpoint has";
  EXPECT_EQ(fs::last_write_time(folder("out")), before);
  EXPECT_TRUE(fs::exists(folder("out") / "checkpoint-3"));
}

/// The steps of shared/cases/attack-refusal-names-nothing: a finished run that lost its weights, started again with one key changed.
TEST(AttackRefusalNamesNothing, EveryRefusalNamesTheKeyAndBothValues) {
  const TemporaryFolder scratch;
  const std::string config = copy_case("linear", scratch).string();
  const fs::path out = scratch / "linear/out";
  const auto train = [&](const std::string& key, const std::vector<std::string>& flags = {}) {
    std::vector<std::string> arguments{"--config", config, "--set", "training.save_steps=5", "--set", key};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    return lora_train(arguments);
  };
  ASSERT_EQ(train("output_dir=out").exit_code, 0);
  fs::remove(out / "adapter_model.safetensors");

  const Outcome other_batch = train("training.per_device_eval_batch_size=2");
  EXPECT_EQ(other_batch.exit_code, 0) << "it changes no number of the training: " << other_batch.err;
  EXPECT_TRUE(fs::exists(out / "adapter_model.safetensors"));
  const Outcome longer = train("training.max_steps=30");
  EXPECT_EQ(longer.exit_code, 0) << longer.err;
  EXPECT_THAT(longer.err, HasSubstr("training.max_steps: 20 there, 30 here"));
  const Outcome shorter = train("training.eval_steps=10");
  EXPECT_EQ(shorter.exit_code, 6) << "the run has 30 steps by now";
  EXPECT_THAT(shorter.err, HasSubstr("training.max_steps: 30 there, 20 here"));
  const Outcome other_device = train("model.device=auto");
  EXPECT_EQ(other_device.exit_code, 6);
  EXPECT_THAT(other_device.err, HasSubstr("model.device: \"cpu\" there, \"auto\" here"));
  const Outcome resumed = train("training.max_steps=30", {"--set", "output_dir=new", "--resume", (out / "checkpoint-20").string()});
  EXPECT_EQ(resumed.exit_code, 0) << resumed.err;
  EXPECT_EQ(sha256_of_file(scratch / "linear/new/adapter_model.safetensors", ErrorKind::kModel),
            sha256_of_file(out / "adapter_model.safetensors", ErrorKind::kModel));
}

}  // namespace
}  // namespace lora::test
