// Events from outside a run: signals, streams that are closed or lose their reader, and a limit on the size of files.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <thread>

#include "lora/base/file.h"
#include "process.h"
#include "support/paths.h"

namespace lora::test {
namespace {

using ::testing::HasSubstr;

Outcome shell(const std::string& script) {
  return Process({"/bin/sh", "-c", script}).wait();
}

/// A run that would take minutes, with its output in `folder`.
std::vector<std::string> long_run(const fs::path& config, const fs::path& folder) {
  return lora_train_command({"--config", config.string(), "--set", "output_dir=" + folder.string(), "--set", "training.max_steps=20000",
                             "--set", "training.save_steps=20000", "--quiet"});
}

std::string in_shell(const std::vector<std::string>& command) {
  std::string line;
  for (const std::string& part : command) {
    line += "'" + part + "' ";
  }
  return line;
}

int64_t num_checkpoints(const fs::path& folder) {
  const auto is_checkpoint = [](const auto& entry) { return entry.path().filename().string().starts_with("checkpoint-"); };
  return std::count_if(fs::directory_iterator(folder), fs::directory_iterator(), is_checkpoint);
}

TEST(Signals, EachLeavesACheckpointOfItsStep) {
  const TemporaryFolder scratch;
  const fs::path config = copy_case("linear", scratch);
  for (const int number : {SIGHUP, SIGUSR1, SIGTERM, SIGINT}) {
    const fs::path folder = scratch / std::to_string(number);
    Process run(long_run(config, folder));
    for (int i = 0; i < 12000 && read_rows(folder / "metrics.jsonl").empty(); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));  // a minute at most, on a busy machine
    }
    run.signal(number);
    EXPECT_EQ(run.wait().exit_code, 128 + number);
    const auto last = read_rows(folder / "metrics.jsonl").back()["step"].get<int64_t>();
    EXPECT_TRUE(fs::exists(folder / ("checkpoint-" + std::to_string(last)) / "MANIFEST.json")) << number;
  }
}

TEST(Signals, ALostReaderEndsARunWithACheckpoint) {
  const TemporaryFolder scratch;
  const fs::path config = copy_case("linear", scratch), folder = scratch / "out";
  std::vector<std::string> command = long_run(config, folder);
  command.pop_back();  // --quiet
  const fs::path status = scratch / "status";
  shell("{ " + in_shell(command) + "2>&1; echo $? > '" + status.string() + "'; } | head -20 > /dev/null");
  EXPECT_EQ(read_text(status), "141\n");
  EXPECT_EQ(num_checkpoints(folder), 1);
  // Other programs stop too, without a checkpoint: here after the first lines of a long answer.
  const fs::path model = scratch / "linear/model";
  shell("{ '" + lora::test::program_folder() + "/lora-inspect' --json '" + model.string() + "'; echo $? > '" + status.string() +
        "'; } | true");
  EXPECT_THAT(read_text(status), testing::AnyOf("141\n", "0\n"));  // the pipe may take all of it before its reader ends
}

TEST(Signals, ClosedStreamsDoNotDamageFiles) {
  const TemporaryFolder scratch;
  const fs::path config = copy_case("linear", scratch), folder = scratch / "out";
  const std::string command = in_shell(
      lora_train_command({"--config", config.string(), "--set", "output_dir=" + folder.string(), "--set", "training.max_steps=3"}));
  EXPECT_EQ(shell("exec " + command + "<&- >&- 2>&-").exit_code, 0);
  EXPECT_GE(read_rows(folder / "metrics.jsonl").size(), 3U);  // each line is JSON
  EXPECT_TRUE(fs::exists(folder / "adapter_model.safetensors"));
}

TEST(Signals, ALimitOnTheSizeOfFilesIsAnOutputError) {
  const TemporaryFolder scratch;
  const fs::path config = copy_case("linear", scratch), model = scratch / "linear/model", adapter = scratch / "linear/adapter";
  const auto limited = [](const std::string& command) { return shell("ulimit -f 4; exec " + command); };
  const Outcome trained = limited(in_shell(lora_train_command({"--config", config.string(), "--quiet"})));
  EXPECT_EQ(trained.exit_code, 6) << trained.err;
  EXPECT_THAT(trained.err, HasSubstr("File too large"));
  const Outcome merged = limited("'" + lora::test::program_folder() + "/lora-merge' --quiet --model '" + model.string() + "' --adapter '" +
                                 adapter.string() + "' --allow-other-base --output '" + (scratch / "m/x").string() + "'");
  EXPECT_EQ(merged.exit_code, 6) << merged.err;
  EXPECT_THAT(merged.err, HasSubstr("File too large"));
  EXPECT_TRUE(fs::is_empty(scratch / "m"));
  for (const auto& entry : fs::recursive_directory_iterator(scratch / "linear")) {
    EXPECT_THAT(entry.path().filename().string(), Not(testing::StartsWith(".lora-tmp")));
  }
}

}  // namespace
}  // namespace lora::test
