// An adapter knows its base model: every tool refuses another one of the same shapes, unless the user allows it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "process.h"

namespace lora::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class OtherBase : public testing::Test {
 protected:
  void SetUp() override {
    config_ = copy_case("gqa", scratch_);
    folder_ = config_.parent_path();
    const Outcome trained = train({"output_dir=mine"});
    ASSERT_EQ(trained.exit_code, 0) << trained.err;
    make_sibling();
  }

  Outcome train(const std::vector<std::string>& overrides, const std::vector<std::string>& more = {}) const {
    std::vector<std::string> arguments{"--config", config_.string(), "--set", "training.max_steps=1"};
    for (const std::string& override : overrides) {
      arguments.insert(arguments.end(), {"--set", override});
    }
    arguments.insert(arguments.end(), more.begin(), more.end());
    return lora_train(arguments);
  }

  /// The base model with the last value of the file set to 1.
  void make_sibling() const {
    fs::copy(folder_ / "model", folder_ / "sibling", fs::copy_options::recursive);
    const fs::path weights = folder_ / "sibling/model.safetensors";
    std::string bytes = read_text(weights);
    bytes.replace(bytes.size() - 4, 4, std::string("\x00\x00\x80\x3f", 4));
    fs::remove(weights);
    write_text(weights, bytes);
  }

  std::string path(const char* name) const { return (folder_ / name).string(); }
  std::vector<std::string> eval(const char* base, const char* adapter) const {
    return {"lora-eval", "--model", path(base), "--adapter", path(adapter), "--data", path("eval.jsonl"), "--format", "tokens"};
  }
  std::vector<std::string> merge(const char* base, const std::string& output) const {
    return {"lora-merge", "--model", path(base), "--adapter", path("mine"), "--output", (scratch_ / output).string()};
  }

  /// Expects the command to be refused with the names, and to work with a warning if the flag is given.
  void expect_refused(std::vector<std::string> command) const {
    const Outcome refused = run_tool(command);
    EXPECT_EQ(refused.exit_code, 4) << command.front();
    EXPECT_THAT(refused.err, HasSubstr("was trained on another base")) << command.front();
    command.emplace_back("--allow-other-base");
    const Outcome allowed = run_tool(command);
    EXPECT_EQ(allowed.exit_code, 0) << allowed.err;
    EXPECT_THAT(allowed.err, HasSubstr("was trained on another base")) << command.front();
  }

  TemporaryFolder scratch_;
  fs::path config_;
  fs::path folder_;
};

TEST_F(OtherBase, IsRefusedByEveryTool) {
  expect_refused(eval("sibling", "mine"));
  expect_refused(merge("sibling", "merged"));
  expect_refused({"lora-convert", "--adapter", path("mine"), "--model", path("sibling"), "--to", "vllm", "--output", path("converted")});
  EXPECT_EQ(run_tool(eval("model", "mine")).exit_code, 0);
  EXPECT_EQ(run_tool(eval("sibling", "adapter")).exit_code, 0) << "PEFT's adapters have no fingerprint";
}

TEST_F(OtherBase, IsRefusedForInitFrom) {
  const std::vector<std::string> overrides{"model.path=sibling", "adapter.init_from=mine", "output_dir=second"};
  const Outcome refused = train(overrides);
  EXPECT_EQ(refused.exit_code, 4);
  EXPECT_THAT(refused.err, HasSubstr("was trained on another base"));
  EXPECT_EQ(train(overrides, {"--allow-other-base"}).exit_code, 0);
  // Adapters of two bases do not combine either.
  expect_refused({"lora-merge", "--combine", "linear", "--adapter", path("mine"), "--adapter", path("second"), "--output", path("both")});
}

TEST_F(OtherBase, IsRecognisedInAnotherFormatAndAfterMerging) {
  // Tools that write adapters keep the fingerprint.
  ASSERT_EQ(run_tool({"lora-convert", "--adapter", path("mine"), "--resize", "2", "--output", path("small")}).exit_code, 0);
  EXPECT_EQ(run_tool(eval("model", "small")).exit_code, 0);
  EXPECT_EQ(run_tool(eval("sibling", "small")).exit_code, 4);
  // The merged model is another base model, but subtracting the adapter from it is allowed.
  ASSERT_EQ(run_tool(merge("model", "merged")).exit_code, 0);
  const Outcome unmerged = run_tool({"lora-merge", "--unmerge", "--verify", "--model", (scratch_ / "merged").string(), "--adapter",
                                     path("mine"), "--output", (scratch_ / "back").string(), "--device", "cpu"});
  EXPECT_EQ(unmerged.exit_code, 0) << unmerged.err;
}

}  // namespace
}  // namespace lora::test
