// training.optim_state_file: the same results, resuming from and to it, and a file that is there exactly as long as the run.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <thread>

#include "process.h"

namespace lora::test {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class StateFile : public testing::Test {
 protected:
  Arguments arguments(const std::string& out, const Arguments& keys) const {
    Arguments all{"--config", config_, "--set", "output_dir=" + out, "--set", "training.save_steps=4"};
    for (const std::string& key : keys) {
      all.insert(all.end(), {"--set", key});
    }
    return all;
  }
  Outcome train(const std::string& out, const Arguments& keys) const { return lora_train(arguments(out, keys)); }
  std::string result(const std::string& out) const { return result_hash(scratch_ / "tied" / out); }
  fs::path folder(const std::string& out) const { return scratch_ / "tied" / out; }

  TemporaryFolder scratch_;
  std::string config_ = copy_case("tied", scratch_).string();
  fs::path states_ = scratch_ / "tied/states";
  std::string in_file_ = "training.optim_state_file=states";  // relative to the config file
};

TEST_F(StateFile, GivesTheSameResultAndResumesWithOrWithoutIt) {
  const Arguments keys{"training.optim=paged_lion_8bit", "training.lr_scheduler_type=constant", "training.warmup_steps=0"};
  const Arguments half = with(keys, {"training.max_steps=4"}), whole = with(keys, {"training.max_steps=8"});
  ASSERT_EQ(train("memory", whole).exit_code, 0);
  const Outcome filed = train("file", with(whole, {in_file_}));
  ASSERT_EQ(filed.exit_code, 0) << filed.err;
  EXPECT_THAT(filed.err, AllOf(HasSubstr("optimizer    paged_lion_8bit, its moments in a file of "), HasSubstr(" in " + states_.string())));
  EXPECT_EQ(result("file"), result("memory"));
  EXPECT_TRUE(files_in(states_).empty());
  // Half of the run in each place, in both orders.
  ASSERT_EQ(train("first", with(half, {in_file_})).exit_code, 0);
  ASSERT_EQ(train("second", half).exit_code, 0);
  EXPECT_THAT(train("first", whole).err, AllOf(HasSubstr("Resuming from "), Not(HasSubstr("in a file of"))));
  EXPECT_THAT(train("second", with(whole, {in_file_})).err, AllOf(HasSubstr("Resuming from "), HasSubstr("in a file of")));
  EXPECT_EQ(result("first"), result("memory"));
  EXPECT_EQ(result("second"), result("memory"));
}

TEST_F(StateFile, SummarySaysWhereAPagedStateIs) {
  const Outcome paged = lora_train(with(arguments("out", {"training.optim=paged_adamw_8bit"}), {"--dry-run"}));
  ASSERT_EQ(paged.exit_code, 0) << paged.err;
  EXPECT_THAT(paged.err, HasSubstr("optimizer    paged_adamw_8bit, all of its moments in memory: pages are for large tensors on a GPU"));
  const Outcome filed = lora_train(with(arguments("out", {"training.optim=paged_adamw_8bit", in_file_}), {"--dry-run"}));
  ASSERT_EQ(filed.exit_code, 0) << filed.err;
  EXPECT_THAT(filed.err, HasSubstr("optimizer    paged_adamw_8bit, its moments in a file of "));
  EXPECT_FALSE(fs::exists(states_)) << "a dry run creates nothing";
  EXPECT_THAT(lora_train(with(arguments("out", {}), {"--dry-run"})).err, Not(HasSubstr("optimizer    ")));
}

TEST_F(StateFile, IsLeftByAKilledRunAndReplacedByTheNext) {
  Process killed(lora_train_command(arguments("killed", {in_file_, "training.max_steps=20000", "training.save_steps=20000"})));
  for (int i = 0; i < 12000 && read_rows(folder("killed") / "metrics.jsonl").empty(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  EXPECT_EQ(files_in(states_), Arguments{"optimizer-state-1.bin"}) << "it is there during the run";
  // Another run at the same time has its own file, and leaves this one.
  ASSERT_EQ(train("other", {in_file_, "training.max_steps=2"}).exit_code, 0);
  EXPECT_EQ(files_in(states_), Arguments{"optimizer-state-1.bin"});
  killed.signal(SIGKILL);
  EXPECT_EQ(killed.wait().exit_code, 128 + SIGKILL);
  EXPECT_EQ(files_in(states_), Arguments{"optimizer-state-1.bin"});
  const Outcome next = train("next", {in_file_, "training.max_steps=2"});
  EXPECT_EQ(next.exit_code, 0);
  EXPECT_THAT(next.err, HasSubstr("optimizer-state-1.bin, which a killed run had left"));
  EXPECT_TRUE(files_in(states_).empty());
}

TEST_F(StateFile, IsAnErrorBeforeTheFirstStep) {
  write_text(scratch_ / "tied/file", "");
  const Outcome outcome = train("out", {"training.optim_state_file=file/states"});
  EXPECT_EQ(outcome.exit_code, 6) << outcome.err;
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("/file/states]"), Not(HasSubstr("base model"))));
  EXPECT_FALSE(fs::exists(folder("out") / "metrics.jsonl"));
}

}  // namespace
}  // namespace lora::test
