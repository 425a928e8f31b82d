// lora-train --sweep and --sweep-halving: each run equals its own, the table is right, and a sweep goes on where it was killed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <thread>

#include "lora/base/file.h"
#include "lora/base/text.h"
#include "process.h"

namespace lora::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class SweepCommand : public testing::Test {
 protected:
  void SetUp() override { config_ = copy_case("gqa", scratch_).string(); }
  fs::path folder(const std::string& name) const { return scratch_ / ("gqa/" + name); }
  Arguments command(const Arguments& more) const {
    return with({"--config", config_, "--set", "training.max_steps=8", "--set", "training.logging_steps=1", "--set",
                 "data.eval=[]", "--set", "data.eval_fraction=0.25", "--set", "adapter.init_from=null"},
                more);
  }

  TemporaryFolder scratch_;
  std::string config_;
};

TEST_F(SweepCommand, EachRunEqualsItsOwn) {
  const Outcome outcome = lora_train(command({"--sweep", "adapter.r=2,4", "--sweep", "training.seed=1,2"}));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("Run 4 of 4: r=4,seed=2"));
  for (const auto& [r, seed] : {std::pair("2", "2"), std::pair("4", "1")}) {  // the seed chooses the rows that are held out
    const Outcome alone = lora_train(command({"--set", std::string("adapter.r=") + r, "--set", std::string("training.seed=") + seed,
                                              "--set", std::string("output_dir=alone") + r}));
    ASSERT_EQ(alone.exit_code, 0) << alone.err;
    const fs::path swept = folder(std::string("out/r=") + r + ",seed=" + seed);
    EXPECT_EQ(result_hash(swept), result_hash(folder(std::string("alone") + r)));
    EXPECT_EQ(read_rows(swept / "metrics.jsonl").back()["eval_loss"],
              read_rows(folder(std::string("alone") + r) / "metrics.jsonl").back()["eval_loss"]);
  }
  const Json table = Json::parse(read_text(folder("out/sweep.json")));
  ASSERT_EQ(table["runs"].size(), 4u);
  std::string best;
  double lowest = 1e9;
  for (const Json& run : table["runs"]) {
    const Json last = read_rows(folder("out/" + run["name"].get<std::string>()) / "metrics.jsonl").back();
    EXPECT_EQ(run["eval_loss"], last["eval_loss"]);
    EXPECT_EQ(run["status"], "finished");
    best = run["eval_loss"] < lowest ? run["name"].get<std::string>() : best;
    lowest = std::min(lowest, run["eval_loss"].get<double>());
  }
  EXPECT_EQ(table["best"], best);
  EXPECT_THAT(outcome.out, AllOf(HasSubstr("| run | adapter.r | training.seed | status"), HasSubstr("**" + best + "** (best)")));
  EXPECT_EQ(read_text(folder("out/sweep.md")), outcome.out);
  EXPECT_THAT(read_text(folder("out/sweep.csv")), HasSubstr("\"r=2,seed=1\",2,1,finished,8,"));
  const fs::path metrics = folder("out/r=2,seed=1/metrics.jsonl");
  write_file_atomically(metrics, read_text(metrics) + "{\"loss\": 1");  // as a kill in the middle of a row leaves it
  const Outcome again = lora_train(command({"--sweep", "adapter.r=2,4", "--sweep", "training.seed=1,2"}));
  EXPECT_EQ(again.exit_code, 0);
  EXPECT_EQ(again.out, outcome.out);
}

TEST_F(SweepCommand, ARunThatDivergesIsListedAndTheOthersGoOn) {
  const Outcome outcome = lora_train(command({"--set", "training.optim=sgd", "--set", "training.max_grad_norm=0", "--sweep",
                                              "training.learning_rate=1e30,1e-3"}));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, AllOf(HasSubstr("| diverged |"), HasSubstr("**learning_rate=1e-3** (best)")));
  EXPECT_THAT(outcome.err, HasSubstr("The sweep continues without this run"));
}

TEST_F(SweepCommand, HalvingStopsTheWorseHalfAndChangesNoOther) {
  const Arguments rates{"3e-2", "1e-8", "1e-2", "1e-3"};
  const Arguments halving = command({"--sweep", "training.learning_rate=" + join(rates, ","), "--sweep-halving"});
  {
    Process process(lora_train_command(halving));  // killed in the middle
    for (int i = 0; i < 6000 && !fs::exists(folder("out/learning_rate=1e-2/checkpoint-2/MANIFEST.json")); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    process.signal(SIGKILL);
    process.wait();
  }
  const Outcome outcome = lora_train(halving);
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const auto loss_after = [this](const std::string& rate, int64_t step) {
    for (const Json& row : read_rows(folder("out/learning_rate=" + rate + "/metrics.jsonl"))) {
      if (row.contains("eval_loss") && row["step"] == step) {
        return row["eval_loss"].get<double>();
      }
    }
    return static_cast<double>(INFINITY);
  };
  const auto best_first = [&loss_after](Arguments names, int64_t step) {
    std::sort(names.begin(), names.end(), [&](const auto& a, const auto& b) { return loss_after(a, step) < loss_after(b, step); });
    return names;
  };
  Arguments left = best_first(rates, 2);
  left.resize(2);
  left = best_first(left, 4);
  std::map<std::string, int64_t> steps;
  const Json table = Json::parse(read_text(folder("out/sweep.json")));
  for (const Json& run : table["runs"]) {
    steps[run["name"]] = run["steps"].get<int64_t>();
  }
  for (const std::string& rate : rates) {
    EXPECT_EQ(steps["learning_rate=" + rate], rate == left[0] ? 8 : rate == left[1] ? 4 : 2) << rate;
  }
  EXPECT_EQ(table["best"], "learning_rate=" + left[0]);
  const Outcome alone = lora_train(command({"--set", "training.learning_rate=" + left[0], "--set", "output_dir=alone"}));
  ASSERT_EQ(alone.exit_code, 0) << alone.err;
  EXPECT_EQ(result_hash(folder("out/learning_rate=" + left[0])), result_hash(folder("alone")));
  EXPECT_EQ(lora_train(halving).out, outcome.out);  // nothing is left to do
}

TEST_F(SweepCommand, WhatCannotBeComparedIsRefused) {
  const Outcome no_rows = lora_train(command({"--set", "data.eval_fraction=0", "--sweep", "adapter.r=1,2", "--sweep-halving"}));
  EXPECT_EQ(no_rows.exit_code, 2);
  EXPECT_THAT(no_rows.err, HasSubstr("found a run without evaluation"));
  EXPECT_EQ(lora_train(command({"--sweep-halving"})).exit_code, 2);
  const Outcome named = lora_train(command({"--sweep", "adapter.r=1,2", "--resume", folder("x").string()}));
  EXPECT_EQ(named.exit_code, 2);
  EXPECT_THAT(named.err, HasSubstr("with several runs"));
}

}  // namespace
}  // namespace lora::test
