// Output paths that the user names: where the programs write, and what they refuse to replace.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <thread>

#include "lora/base/file.h"
#include "process.h"
#include "support/paths.h"

namespace lora::test {
namespace {

using ::testing::HasSubstr;

class OutputPlaces : public testing::Test {
 protected:
  OutputPlaces() : config_(copy_case("linear", scratch_)), model_(scratch_ / "linear/model"), adapter_(scratch_ / "linear/adapter") {
    write_text(rows_, "{\"input_ids\": [1, 2, 3]}\n");
  }

  /// Runs each program that writes rows with a model, writing to `output`.
  std::vector<Outcome> run_model(const fs::path& output) const {
    return {run_tool({"lora-eval", "--model", model_.string(), "--adapter", adapter_.string(), "--allow-other-base", "--data",
                      rows_.string(), "--format", "tokens", "--token-logprobs", output.string()}),
            run_tool({"lora-generate", "--model", model_.string(), "--adapter", adapter_.string(), "--allow-other-base", "--prompts",
                      rows_.string(), "--max-new-tokens", "2", "--output", output.string()})};
  }
  Outcome tokenize(const fs::path& output) const {
    return run_tool({"lora-tokenize", "--model", lora::test::data_folder() + "/tokenizer/bpe.model", "--input", texts_.string(), "--output",
                     output.string()});
  }
  std::vector<Outcome> write_rows(const fs::path& output) const {
    std::vector<Outcome> outcomes = run_model(output);
    outcomes.push_back(tokenize(output));
    return outcomes;
  }
  void expect_all(const std::vector<Outcome>& outcomes, int exit_code, const std::string& part = "") const {
    for (const Outcome& outcome : outcomes) {
      EXPECT_EQ(outcome.exit_code, exit_code) << outcome.err;
      EXPECT_THAT(outcome.err, HasSubstr(part));
    }
  }

  TemporaryFolder scratch_;
  fs::path config_, model_, adapter_;
  fs::path rows_ = scratch_ / "rows.jsonl";
  fs::path texts_ = scratch_.write("texts.jsonl", "{\"text\": \"a\"}\n");
};

TEST_F(OutputPlaces, DevicesAndPipesStay) {
  const fs::path null = scratch_ / "null", pipe = scratch_ / "pipe";
  if (mknod(null.c_str(), S_IFCHR | 0600, makedev(1, 3)) == 0) {  // as root, who could take /dev/null away from everybody
    expect_all(write_rows(null), 0);
    EXPECT_TRUE(fs::is_character_file(null));
  }
  expect_all(write_rows("/dev/null"), 0);
  EXPECT_TRUE(fs::is_character_file("/dev/null"));
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  std::string read;
  std::thread reader([&] {
    for (int program = 0; program < 3; ++program) {
      read += read_text(pipe);
    }
  });
  expect_all(write_rows(pipe), 0);
  reader.join();
  EXPECT_TRUE(fs::is_fifo(pipe));
  EXPECT_THAT(read, testing::AllOf(HasSubstr("\"logprobs\""), HasSubstr("\"output_ids\""), HasSubstr("\"input_ids\"")));
}

TEST_F(OutputPlaces, TheTargetOfALinkIsReplaced) {
  fs::create_symlink("real.jsonl", scratch_ / "link");
  expect_all(write_rows(scratch_ / "link"), 0);
  EXPECT_TRUE(fs::is_symlink(scratch_ / "link"));
  EXPECT_EQ(read_rows(scratch_ / "real.jsonl").size(), 1U);
}

TEST_F(OutputPlaces, InputsAreNotReplaced) {
  const std::string weights = sha256_of_file(model_ / "model.safetensors", ErrorKind::kData);
  for (const fs::path& output :
       {model_ / "model.safetensors", model_ / "config.json", model_ / "tokenizer.json", adapter_ / "adapter_config.json"}) {
    expect_all(run_model(output), 6, "which is read");
  }
  EXPECT_EQ(sha256_of_file(model_ / "model.safetensors", ErrorKind::kData), weights);
  EXPECT_FALSE(fs::exists(model_ / "tokenizer.json"));
  expect_all(run_model(rows_), 6, "a file that is read");
  // Through a glob, whose files are known once the rows are read.
  const Outcome by_pattern = run_tool({"lora-eval", "--model", model_.string(), "--data", (scratch_ / "row?.jsonl").string(), "--format",
                                       "tokens", "--token-logprobs", rows_.string()});
  EXPECT_EQ(by_pattern.exit_code, 6) << by_pattern.err;
  EXPECT_EQ(tokenize(texts_).exit_code, 6);
  EXPECT_EQ(read_text(texts_), "{\"text\": \"a\"}\n");
  expect_all(write_rows(scratch_.path()), 6, "found a folder");
}

TEST_F(OutputPlaces, FoldersAndFilesDoNotReplaceInputs) {
  const auto convert_to = [this](const fs::path& output) {
    return run_tool({"lora-convert", "--adapter", adapter_.string(), "--to", "kohya", "--output", output.string(), "--overwrite"});
  };
  const std::string weights = sha256_of_file(adapter_ / "adapter_model.safetensors", ErrorKind::kData);
  fs::create_symlink(adapter_ / "adapter_model.safetensors", scratch_ / "link.safetensors");
  expect_all({convert_to(adapter_ / "adapter_model.safetensors"), convert_to(scratch_ / "link.safetensors"), convert_to("/dev/null")}, 6);
  fs::create_symlink("made.safetensors", scratch_ / "new.safetensors");
  expect_all({convert_to(scratch_ / "new.safetensors")}, 0);
  EXPECT_TRUE(fs::is_symlink(scratch_ / "new.safetensors"));
  expect_all({run_tool({"lora-merge", "--model", model_.string(), "--adapter", adapter_.string(), "--allow-other-base", "--overwrite",
                        "--output", model_.string()})},
             6, "expected a separate folder");
  // A run that writes into the folder of its base model or of the adapter that it starts from.
  for (const char* folder : {"model", "adapter"}) {
    const Outcome run = lora_train({"--config", config_.string(), "--set", std::string("output_dir=") + folder, "--overwrite", "--quiet"});
    EXPECT_EQ(run.exit_code, 2) << run.err;
    EXPECT_THAT(run.err, HasSubstr("the run would overwrite it"));
  }
  EXPECT_EQ(sha256_of_file(adapter_ / "adapter_model.safetensors", ErrorKind::kData), weights);
  EXPECT_TRUE(fs::exists(model_ / "config.json"));
}

TEST_F(OutputPlaces, AnotherRunLeavesNothingOfTheFirst) {
  const Arguments run{"--config", config_.string(), "--set", "training.max_steps=1", "--quiet"};
  EXPECT_EQ(lora_train(run).exit_code, 0);
  const fs::path out = scratch_ / "linear/out";
  fs::create_directory(out / "samples");
  for (const char* name : {"prompt_encoder.safetensors", "samples/step-000001-1.png", "samples/notes.txt"}) {
    write_file_atomically(out / name, "of the first");
  }
  EXPECT_EQ(lora_train(with(run, {"--set", "training.seed=7", "--overwrite"})).exit_code, 0);
  EXPECT_FALSE(fs::exists(out / "prompt_encoder.safetensors"));
  EXPECT_FALSE(fs::exists(out / "samples/step-000001-1.png"));
  EXPECT_TRUE(fs::exists(out / "samples/notes.txt"));
}

TEST_F(OutputPlaces, LinksInAnUntrustedRunFolderAreNotFollowed) {
  const fs::path out = scratch_ / "linear/out", victim = scratch_.write("victim", "precious");
  for (const char* name : {".lock", "metrics.jsonl"}) {
    fs::create_directory(out);
    fs::create_symlink(victim, out / name);
    const Outcome run = lora_train({"--config", config_.string(), "--set", "training.max_steps=1", "--quiet", "--overwrite"});
    EXPECT_THAT(run.exit_code, testing::AnyOf(0, 6)) << run.err;
    EXPECT_EQ(read_text(victim), "precious") << name;
    fs::remove_all(out);
  }
  fs::create_directory(out);
  fs::create_symlink(victim, out / "run.json");
  EXPECT_EQ(lora_train({"--config", config_.string(), "--set", "training.max_steps=1", "--quiet", "--overwrite"}).exit_code, 0);
  EXPECT_EQ(read_text(victim), "precious");
}

}  // namespace
}  // namespace lora::test
