// Messages name what the user can change: flags in programs with flags, config keys in programs that read a config.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "process.h"
#include "support/paths.h"

namespace lora::test {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

const std::string kGqaModel = (kData / "llama/gqa/model").string();
const std::string kGqaAdapter = (kData / "llama/gqa/adapter").string();
const std::string kGqaRows = (kData / "llama/gqa/rows.jsonl").string();

void expect_flag(const std::vector<std::string>& command, const std::string& flag) {
  const Outcome outcome = run_tool(command);
  EXPECT_NE(outcome.exit_code, 0) << command[0];
  EXPECT_THAT(outcome.err, HasSubstr(flag)) << command[0];
  for (const char* section : {"model.", "adapter.", "data.", "training."}) {
    EXPECT_THAT(outcome.err, Not(HasSubstr(std::string("[") + section))) << command[0];
  }
  EXPECT_THAT(outcome.err, Not(HasSubstr("config file"))) << command[0];
}

TEST(Messages, ProgramsWithFlagsNameFlags) {
  const std::vector<std::string> eval{"lora-eval", "--model", kGqaModel, "--format", "tokens", "--data"};
  const auto with = [](std::vector<std::string> command, const std::vector<std::string>& more) {
    command.insert(command.end(), more.begin(), more.end());
    return command;
  };
  expect_flag(with(eval, {kGqaRows, "--dtype", "bf16"}), "[--dtype]");
  expect_flag(with(eval, {kGqaRows, "--device", "gpu"}), "[--device]");
  expect_flag(with(eval, {kGqaRows, "--device", "cuda:999"}), "[--device]");
  expect_flag(with(eval, {"nothere.jsonl"}), "relative to the current folder");
  expect_flag(with(eval, {kGqaRows, "--column", "text=body"}), "[--column]");
  expect_flag({"lora-eval", "--model", kGqaModel, "--format", "text", "--data", kGqaRows}, "tokenizer");
  expect_flag({"lora-generate", "--model", kGqaModel, "--adapter", "runs/nothere", "--prompt", "x"}, "[--adapter]");
  expect_flag({"lora-generate", "--model", "nobody/nothing", "--prompt", "x"}, "[--model]");
  expect_flag({"lora-generate", "--model", kGqaAdapter, "--prompt", "x"}, "Use --adapter for it");
  expect_flag({"lora-merge", "--model", kGqaModel, "--adapter", kGqaAdapter, "--output", "out", "--dtype", "bf16"}, "[--dtype]");
  expect_flag({"lora-merge", "--model", kGqaModel, "--adapter", "runs/nothere", "--output", "out"}, "[--adapter]");
  expect_flag({"lora-tokenize", "--model", "nobody/nothing", "--input", kGqaRows, "--output", "out.jsonl"}, "[--model]");
  expect_flag({"lora-convert", "--extract", "--r", "2", "--base", "nobody/nothing", "--tuned", kGqaModel, "--output", "out"}, "[--base]");
  expect_flag({"lora-convert", "--extract", "--r", "2", "--base", kGqaModel, "--tuned", "nobody/nothing", "--output", "out"}, "[--tuned]");
  expect_flag({"lora-eval", "--model", (kData / "torchscript/modules/perceptron.pt").string(), "--data",
               (kData / "torchscript/row_runs/features_eval.jsonl").string(), "--format", "features", "--objective", "regression"},
              "[--trust-torchscript]");
  const Outcome train = lora_train({"run.json"});
  EXPECT_EQ(train.exit_code, 2);
  EXPECT_THAT(train.err, HasSubstr("--config FILE"));
}

TEST(Messages, ConfigErrorsSayWhatToWrite) {
  const TemporaryFolder scratch;
  const auto errors = [&](const std::string& name, const std::string& text) {
    return lora_train({"--config", scratch.write(name, text).string()}).err;
  };
  EXPECT_THAT(errors("comment.json", "{\n  // the model\n  \"model\": {}}"), HasSubstr("a comment, which JSON does not allow"));
  EXPECT_THAT(errors("hash.json", "{\n  \"model\": {}, # the model\n}"), HasSubstr("a comment, which JSON does not allow"));
  EXPECT_THAT(errors("run.yaml", "model:\n  path: x\n"), HasSubstr("YAML or plain text instead of JSON"));
  const std::string config = R"({"model": {"path": "base"}, "adapter": {"target_modules": ["q_proj"]}, "output_dir": "out",
    "data": {"train": ["train.jsonl"]}, "training": {"xyzzy": 1, "plugh": 2, "frobozz": 3, "load_in_4bit": true, "run_name": "x"}})";
  const std::string found = errors("run.json", config);
  EXPECT_THAT(found, AllOf(HasSubstr("[training.xyzzy] unknown key. The known keys are num_train_epochs"),
                           HasSubstr("[training.plugh] unknown key\n"), HasSubstr("[training.frobozz] unknown key\n")))
      << "the known keys are listed once";
  EXPECT_THAT(found, AllOf(HasSubstr("[training.load_in_4bit]"), HasSubstr("model.quantization"),
                           HasSubstr("[training.run_name]")));
  EXPECT_THAT(found, HasSubstr(R"([data.train[0]] found "train.jsonl", expected an object, such as {"path":"train.jsonl","format":)"));
}

TEST(Messages, RowErrorsAreShort) {
  const TemporaryFolder scratch;
  const std::string config = copy_case("tied", scratch).string();
  const auto errors = [&](const std::string& rows) {
    write_text(scratch / "tied/rows.jsonl", rows);
    return lora_train({"--config", config}).err;
  };
  std::string unsupervised;
  for (int i = 0; i < 12; ++i) {
    unsupervised += "{\"input_ids\": [1, 2, 3], \"labels\": [-100, -100, -100]}\n";
  }
  EXPECT_THAT(errors(unsupervised), AllOf(HasSubstr("rows.jsonl:2 and 10 more"), Not(HasSubstr("rows.jsonl:3"))));
  EXPECT_THAT(errors("{\"input_ids\": null}\n"), AllOf(HasSubstr("found null, "), Not(HasSubstr("null (null)"))));
  write_text(scratch / "tied/rows.jsonl", "{\"input_ids\": [1, 2, 3]}\n");
  const Outcome one = lora_train({"--config", config, "--dry-run", "--set", "training.gradient_accumulation_steps=1000"});
  EXPECT_THAT(one.err, AllOf(HasSubstr("1 document, 3 tokens"),
                             HasSubstr("[training.gradient_accumulation_steps] exceeds the length of an epoch: found 1000, expected at "
                                       "most 1 batch.")));
  EXPECT_THAT(one.err, AllOf(HasSubstr("float32"), Not(HasSubstr("Float,"))));
}

TEST(Messages, ADryRunGroupsModulesAndNamesClasses) {
  const TemporaryFolder scratch;
  const Outcome tokens = lora_train({"--config", copy_case("tied", scratch).string(), "--dry-run"});
  ASSERT_EQ(tokens.exit_code, 0) << tokens.err;
  EXPECT_THAT(tokens.out, HasSubstr("  model.layers.*.self_attn.q_proj  "));
  EXPECT_THAT(tokens.out, Not(HasSubstr("model.layers.0.")));
  const Outcome labels = lora_train({"--config", copy_case("qwen2_names", scratch).string(), "--dry-run"});
  ASSERT_EQ(labels.exit_code, 0) << labels.err;
  EXPECT_THAT(labels.err, AllOf(HasSubstr("labels       2: entailed, no"), HasSubstr("labelled rows")));
  EXPECT_THAT(labels.out, HasSubstr("label entailed"));
}

TEST(Messages, LoraEvalShowsTheDifferenceFromTheBaseModel) {
  const std::vector<std::string> command{"lora-eval", "--model",  kGqaModel, "--adapter", kGqaAdapter, "--data",
                                         kGqaRows,    "--format", "tokens",  "--device",  "cpu",       "--compare-base"};
  const Outcome table = run_tool(command);
  ASSERT_EQ(table.exit_code, 0) << table.err;
  EXPECT_THAT(table.out, HasSubstr("difference"));
  std::vector<std::string> json = command;
  json.emplace_back("--json");
  const Json results = Json::parse(run_tool(json).out)["results"];
  EXPECT_NEAR(results[1]["loss_difference"].get<double>(), results[1]["loss"].get<double>() - results[0]["loss"].get<double>(), 1e-12);
}

}  // namespace
}  // namespace lora::test
