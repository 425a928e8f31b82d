// An adapter that PEFT 0.1 wrote in every program, and the errors for a folder that is not an adapter.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lora/base/json.h"
#include "process.h"
#include "support/paths.h"

namespace lora::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

const fs::path kStored = fs::path(lora::test::data_folder()) / "adapters";

TEST(StoredAdapter, Peft01WorksInEveryProgram) {
  const TemporaryFolder scratch;
  const std::string base = (kStored / "untied").string();
  const std::string adapter = (kStored / "peft_0_1").string();
  const std::string rows = (kStored / "rows.jsonl").string();
  const Json run{{"model", {{"path", base}, {"device", "cpu"}}},
                 {"adapter", {{"init_from", adapter}}},
                 {"data", {{"train", {{{"path", rows}, {"format", "tokens"}}}}}},
                 {"training", {{"max_steps", 1}}},
                 {"output_dir", "out"}};
  const Outcome trained = lora_train({"--config", scratch.write("run.json", run.dump()).string()});
  EXPECT_EQ(trained.exit_code, 0) << trained.err;
  const auto expect_runs = [](const std::vector<std::string>& command) {
    const Outcome outcome = run_tool(command);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return outcome.out;
  };
  const std::string text =
      expect_runs({"lora-eval", "--model", base, "--adapter", adapter, "--data", rows, "--format", "tokens", "--json"});
  EXPECT_THAT(text, HasSubstr("4.39599"));
  expect_runs({"lora-merge", "--model", base, "--adapter", adapter, "--output", (scratch / "merged").string(), "--verify"});
  EXPECT_THAT(expect_runs({"lora-inspect", adapter}), HasSubstr("LoRA, r 2"));
  expect_runs({"lora-convert", "--adapter", adapter, "--to", "vllm", "--output", (scratch / "vllm").string()});
}

TEST(StoredAdapter, AFolderThatIsNotAnAdapterIsNamedByItsFlag) {
  for (const std::string program : {"lora-eval", "lora-merge"}) {
    std::vector<std::string> command{program, "--model", (kStored / "untied").string(), "--adapter", "nothere"};
    const std::vector<std::string> more = program == "lora-eval" ? std::vector<std::string>{"--data", "x.jsonl", "--format", "tokens"}
                                                                 : std::vector<std::string>{"--output", "x"};
    command.insert(command.end(), more.begin(), more.end());
    const Outcome outcome = run_tool(command);
    EXPECT_EQ(outcome.exit_code, 4);
    EXPECT_THAT(outcome.err, HasSubstr("[--adapter]"));
  }
}

}  // namespace
}  // namespace lora::test
