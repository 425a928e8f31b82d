// Untrusted files: paths that are not regular files, and text that would control a terminal.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "lora/base/file.h"
#include "process.h"
#include "support/paths.h"

namespace lora::test {
namespace {

using ::testing::HasSubstr;

/// Replaces `file` by something that cannot be read to an end, runs `command`, and restores the file.
void expect_not_read(const fs::path& file, int exit_code, const std::vector<std::string>& command) {
  const fs::path kept = file.string() + ".kept";
  const bool was_there = fs::exists(file);
  if (was_there) {
    fs::rename(file, kept);
  }
  for (const bool device : {true, false}) {
    device ? fs::create_symlink("/dev/zero", file) : (void)mkfifo(file.c_str(), 0600);
    const Outcome outcome = run_tool(command);
    EXPECT_EQ(outcome.exit_code, exit_code) << outcome.err;
    EXPECT_THAT(outcome.out + outcome.err, HasSubstr(device ? "found a device" : "found a pipe")) << file;
    fs::remove(file);
  }
  if (was_there) {
    fs::rename(kept, file);
  }
}

TEST(HostileFiles, DevicesAndPipesAreNotReadAsSettings) {
  const TemporaryFolder scratch;
  const fs::path config = copy_case("linear", scratch);
  const std::string model = (scratch / "linear/model").string(), adapter = (scratch / "linear/adapter").string(),
                    rows = (scratch / "linear/eval.jsonl").string();
  const std::vector<std::string> evaluate{"lora-eval", "--model", model, "--data", rows, "--format", "tokens"};
  expect_not_read(model + "/config.json", 4, evaluate);
  fs::rename(model + "/model.safetensors", scratch / "kept");
  expect_not_read(model + "/model.safetensors.index.json", 4, {"lora-inspect", model});
  fs::rename(scratch / "kept", model + "/model.safetensors");
  expect_not_read(adapter + "/adapter_config.json", 4, {"lora-inspect", adapter});
  ASSERT_EQ(
      lora_train({"--config", config.string(), "--set", "training.max_steps=1", "--set", "training.save_steps=1", "--quiet"}).exit_code, 0);
  const std::string run = (scratch / "linear/out").string();
  expect_not_read(run + "/run.json", 0, {"lora-inspect", run});
  expect_not_read(run + "/metrics.jsonl", 0, {"lora-inspect", run});
  expect_not_read(run + "/checkpoint-1/trainer_state.json", 0, {"lora-inspect", run + "/checkpoint-1"});
  const Outcome zero = lora_train({"--config", "/dev/zero"});
  EXPECT_EQ(zero.exit_code, 2);
  EXPECT_THAT(zero.err, HasSubstr("found a device, expected a regular file or a pipe"));
}

TEST(HostileFiles, AConfigAndRowsMayComeThroughAPipe) {
  const TemporaryFolder scratch;
  copy_case("linear", scratch);
  const std::string folder = (scratch / "linear").string(), bin = lora::test::program_folder();
  const auto in_folder = [&](const std::string& script) { return Process({"/bin/sh", "-c", "cd '" + folder + "' && " + script}).wait(); };
  // Paths are relative to the current folder, as the pipe has none.
  const Outcome trained = in_folder("cat run.json | '" + bin + "/lora-train' --config /dev/stdin --set training.max_steps=1 --quiet");
  EXPECT_EQ(trained.exit_code, 0) << trained.err;
  EXPECT_TRUE(fs::exists(folder + "/out/adapter_model.safetensors"));
  const std::string evaluate = "'" + bin + "/lora-eval' --model model --format tokens --json --data ";
  const Outcome by_pipe = in_folder("cat eval.jsonl | " + evaluate + "/dev/stdin"), by_file = in_folder(evaluate + "eval.jsonl");
  ASSERT_EQ(by_pipe.exit_code, 0) << by_pipe.err;
  EXPECT_EQ(Json::parse(by_pipe.out)["loss"], Json::parse(by_file.out)["loss"]);
}

/// Clears the screen, sets the terminal's title, and imitates a line of the program.
const std::string kSteering = "\x1b[2J\x1b]0;evil\x07\xc2\x9b\nerror: fake";

void change(const fs::path& file, const std::string& key, const Json& value) {
  Json config = Json::parse(read_text(file));
  config[key] = value;
  write_text(file, config.dump());
}

void expect_harmless(const Outcome& outcome, const std::string& where) {
  for (const std::string& text : {outcome.out, outcome.err}) {
    for (const char* control : {"\x1b", "\x07", "\xc2\x9b", "\nerror: fake"}) {
      EXPECT_THAT(text, Not(HasSubstr(control))) << where;
    }
  }
}

TEST(HostileFiles, ControlCharactersDoNotReachTheTerminal) {
  const TemporaryFolder scratch;
  const fs::path config = copy_case("linear", scratch), folder = scratch / "linear";
  const auto evaluate = [&](const std::string& model, const std::vector<std::string>& more = {}) {
    std::vector<std::string> command{"lora-eval", "--model", model, "--data", (folder / "eval.jsonl").string(), "--format", "tokens"};
    command.insert(command.end(), more.begin(), more.end());
    return run_tool(command);
  };
  const auto copied = [&](const char* from, const std::string& to) {
    fs::copy(folder / from, scratch / to, fs::copy_options::recursive);
    return scratch / to;
  };
  for (const char* key : {"model_type", "hidden_act", "rope_scaling", "architectures", "torch_dtype"}) {
    const fs::path model = copied("model", key);
    change(model / "config.json", key, kSteering);
    expect_harmless(evaluate(model.string()), key);
    expect_harmless(run_tool({"lora-inspect", model.string()}), key);
  }
  const fs::path adapter = copied("adapter", "a");
  change(adapter / "adapter_config.json", "target_modules", {kSteering});
  change(adapter / "adapter_config.json", "base_model_name_or_path", kSteering);
  change(adapter / "adapter_config.json", kSteering, kSteering);
  for (const Outcome& outcome :
       {evaluate((folder / "model").string(), {"--adapter", adapter.string(), "--allow-other-base"}),
        run_tool({"lora-inspect", adapter.string()}), run_tool({"lora-inspect", adapter.string(), "--diff", (folder / "adapter").string()}),
        run_tool(
            {"lora-merge", "--model", (folder / "model").string(), "--adapter", adapter.string(), "--output", (scratch / "m").string()})}) {
    expect_harmless(outcome, "adapter");
  }
  fs::create_directory(scratch / "run");
  write_text(scratch / "run/run.json", Json{{"status", kSteering}, {"result", {{kSteering, kSteering}}}}.dump());
  const Outcome shown = run_tool({"lora-inspect", (scratch / "run").string()});
  expect_harmless(shown, "run.json");
  EXPECT_THAT(shown.out, HasSubstr("\\u001b[2J"));
  const Outcome json = run_tool({"lora-inspect", "--json", (scratch / "run").string()});
  expect_harmless(json, "--json");
  EXPECT_EQ(Json::parse(json.out)["run"]["status"], kSteering);  // JSON output is unchanged
  // A file name, rows, and a flag.
  const fs::path named = scratch / ("rows\x1b[2J.jsonl");
  write_text(named, Json{{"input_ids", kSteering}}.dump() + "\n");
  expect_harmless(run_tool({"lora-eval", "--model", (folder / "model").string(), "--data", named.string(), "--format", "tokens"}), "rows");
  expect_harmless(run_tool({"lora-eval", kSteering}), "a flag");
}

}  // namespace
}  // namespace lora::test
