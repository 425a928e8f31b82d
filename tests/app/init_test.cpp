// lora-train --init: a first config for a model and rows, which a run accepts as it is.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

#include "chat_model.h"
#include "lora/base/file.h"
#include "process.h"
#include "support/paths.h"

namespace lora::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

/// `row`, `count` times, one per line.
std::string repeated(const std::string& row, int count) {
  std::string rows;
  for (int i = 0; i < count; ++i) {
    rows += row + "\n";
  }
  return rows;
}

class Init : public ChatModel {
 protected:
  Outcome init(const std::string& model, const std::string& rows, const std::string& output = "first.json") const {
    return lora_train({"--init", path(model), path(rows), "--output", path(output)});
  }
  /// Writes a config for these rows, and lets a run check it.
  Json accepted(const std::string& file, const std::string& rows) const {
    write_text(scratch_ / file, rows);
    const Outcome written = init("model", file);
    EXPECT_EQ(written.exit_code, 0) << written.err;
    summary_ = written.out;
    const Outcome checked = lora_train({"--config", path("first.json"), "--set", "model.device=cpu", "--dry-run"});
    EXPECT_EQ(checked.exit_code, 0) << checked.err;
    const Json config = Json::parse(read_text(scratch_ / "first.json"));
    fs::remove(scratch_ / "first.json");
    return config;
  }
  void expect_error(int exit_code, const Outcome& outcome, const std::vector<std::string>& parts) const {
    EXPECT_EQ(outcome.exit_code, exit_code) << outcome.err;
    for (const std::string& part : parts) {
      EXPECT_THAT(outcome.err, HasSubstr(part));
    }
    EXPECT_FALSE(fs::exists(scratch_ / "first.json"));
  }

  mutable std::string summary_;
};

TEST_F(Init, FindsTheFormatByTheColumns) {
  const std::vector<std::array<std::string, 3>> cases{
      {"messages", "m.jsonl", kRows},
      {"messages", "s.jsonl", R"({"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]})"},
      {"instruction", "i.jsonl", R"({"instruction": "add", "input": "1 2", "output": "3"})"},
      {"prompt_completion", "p.csv", "prompt,completion\nthe river,is wide\n"},
      {"prompt_completion", "p.json", R"([{"prompt": "the river", "completion": "is wide"}])"},
      {"text", "t.jsonl", R"({"text": "the river is wide"})"},
      {"text", "t.txt", "the river\nis wide\n"},
      {"tokens", "k.jsonl", R"({"input_ids": [1, 2, 3]})"},
      {"classification", "c.csv", "text,label\nthe river,water\nthe hill,land\n"}};
  for (const auto& [format, file, rows] : cases) {
    const Json config = accepted(file, rows);
    EXPECT_EQ(config["data"]["train"][0]["format"], format) << file;
    EXPECT_EQ(config["training"].contains("objective"), format == "classification");
    EXPECT_EQ(config["data"].value("packing", false), format == "text");
    EXPECT_EQ(config["data"].contains("train_on"), format == "messages" || format == "instruction" || format == "prompt_completion");
    EXPECT_FALSE(config["data"].contains("eval_fraction"));
    EXPECT_THAT(summary_, AllOf(HasSubstr("of the format " + format), HasSubstr("too few to hold some out"))) << file;
  }
}

TEST_F(Init, ExplainsEveryKeyOfTheConfig) {
  const Json config = accepted("m.jsonl", kRows);
  for (const char* section : {"model", "adapter", "data", "training"}) {
    for (const auto& [key, value] : config[section].items()) {
      EXPECT_THAT(summary_, HasSubstr("\n  " + std::string(section) + "." + key));
    }
  }
  EXPECT_EQ(config["adapter"]["target_modules"], "all-linear");
  EXPECT_EQ(config["data"]["chat_template"], "model");
  EXPECT_THAT(summary_, AllOf(HasSubstr("llama"), HasSubstr("with a chat template"), HasSubstr("--dry-run")));
}

TEST_F(Init, HoldsRowsOutWhereThereAreEnough) {
  const std::string rows = repeated(R"({"prompt": "the river", "completion": "is wide"})", 200);
  const Json config = accepted("rows.jsonl", rows);
  EXPECT_EQ(config["data"]["eval_fraction"], 0.1);
  EXPECT_EQ(config["training"]["eval_strategy"], "epoch");
  EXPECT_EQ(config["training"]["load_best_model_at_end"], true);
  EXPECT_EQ(config["data"]["max_length"], 64);
  EXPECT_THAT(summary_, AllOf(HasSubstr("holds out about 20 rows"), Not(HasSubstr("too few"))));
}

TEST_F(Init, ChoosesATemplateForAModelWithoutOne) {
  write_text(scratch_ / "model/tokenizer_config.json", R"({"eos_token": "<|eot_id|>"})");
  fs::remove(scratch_ / "model/chat_template.jinja");
  const Json config = accepted("m.jsonl", kRows);
  // The tokenizer has <|eot_id|> and none of the control tokens of other templates.
  EXPECT_EQ(config["data"]["chat_template"], "llama2");
  EXPECT_THAT(summary_, HasSubstr("Which chat template the model should use"));
  const Json pairs = accepted("p.jsonl", R"({"prompt": [{"role": "user", "content": "the river"}],)"
                                         R"( "completion": [{"role": "assistant", "content": "is wide"}]})");
  EXPECT_EQ(pairs["data"]["chat_template"], "llama2");
  const Json texts = accepted("c.jsonl", R"({"prompt": "the river", "completion": "is wide"})");
  EXPECT_FALSE(texts["data"].contains("chat_template")) << texts;
}

TEST_F(Init, AnUnusableTemplateMattersOnlyForMessages) {
  write_text(scratch_ / "model/chat_template.jinja", "{% for m in messages %}");
  accepted("t.jsonl", R"({"text": "the river"})");
  accepted("c.jsonl", R"({"prompt": "the river", "completion": "is wide"})");
  write_text(scratch_ / "m.jsonl", kRows);
  expect_error(4, init("model", "m.jsonl"), {"chat_template.jinja"});
}

TEST_F(Init, AHeadOfOneOutputPredictsValues) {
  const fs::path run = copy_case("roberta_classes", scratch_);
  Json model = Json::parse(read_text(scratch_ / "roberta_classes/model/config.json"));
  model["num_labels"] = 1;
  model.erase("id2label");
  model.erase("label2id");
  write_text(scratch_ / "roberta_classes/model/config.json", model.dump());
  write_text(scratch_ / "v.jsonl", repeated(R"({"input_ids": [0, 5, 6, 2], "label": 3})", 120));
  const Outcome written = init("roberta_classes/model", "v.jsonl");
  ASSERT_EQ(written.exit_code, 0) << written.err;
  const Json config = Json::parse(read_text(scratch_ / "first.json"));
  EXPECT_FALSE(config["training"].contains("metric_for_best_model")) << config;
  const Outcome checked = lora_train({"--config", path("first.json"), "--set", "model.device=cpu", "--dry-run"});
  EXPECT_EQ(checked.exit_code, 0) << checked.err;
}

TEST_F(Init, TakesWrappedLinesAsParagraphs) {
  const Json config = accepted("t.txt", "the river\nis wide\nand long\n\nthe hill\nis high\nand green\n");
  EXPECT_EQ(config["data"]["train"][0]["documents"], "paragraph");
}

TEST_F(Init, LabelsAreForEncodersToo) {
  const fs::path run = copy_case("roberta_classes", scratch_);
  const Outcome written = init("roberta_classes/model", "roberta_classes/rows.jsonl");
  ASSERT_EQ(written.exit_code, 0) << written.err;
  const Json config = Json::parse(read_text(scratch_ / "first.json"));
  EXPECT_EQ(config["training"]["objective"], "sequence_classification");
  EXPECT_EQ(config["adapter"]["target_modules"], Json({"query", "value"}));
  const Outcome checked = lora_train({"--config", path("first.json"), "--set", "model.device=cpu", "--dry-run"});
  EXPECT_EQ(checked.exit_code, 0) << checked.err;
  fs::remove(scratch_ / "first.json");
  expect_error(4, init("roberta_classes/model", "text.jsonl"),
               {"[--init]", "no head that predicts tokens", "expected rows with a \"label\""});
}

TEST_F(Init, RefusesWhatARunCouldNotUse) {
  expect_error(4, init("nowhere", "rows.jsonl"), {"[--init] does not exist"});
  expect_error(3, init("model", "nowhere.jsonl"), {"nowhere.jsonl"});
  write_text(scratch_ / "empty.jsonl", "\n");
  expect_error(3, init("model", "empty.jsonl"), {"no row is found"});
  write_text(scratch_ / "other.csv", "question,answer\na,b\n");
  expect_error(3, init("model", "other.csv"), {"other.csv:2", "found question, answer", "prompt_completion (prompt, completion)"});
  write_text(scratch_ / "broken.jsonl", "{\"text\": \"a\"}\n{\"text\": 1}\n");
  expect_error(3, init("model", "broken.jsonl"), {"broken.jsonl:2"});
  write_text(scratch_ / "one.jsonl", "{\"text\": \"a\", \"label\": \"x\"}\n{\"text\": \"b\", \"label\": \"x\"}\n");
  expect_error(3, init("model", "one.jsonl"), {"too few classes"});
  expect_error(2, init("model", "model/model.safetensors"), {"the kind of the file"});
  expect_error(2, lora_train({"--init", path("model"), "-", "--output", path("first.json")}), {"can be read only once"});
}

TEST_F(Init, ReplacesNothing) {
  write_text(scratch_ / "kept.json", "mine");
  const Outcome outcome = init("model", "rows.jsonl", "kept.json");
  EXPECT_EQ(outcome.exit_code, 6);
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("[--output]"), HasSubstr("exists already")));
  EXPECT_EQ(read_text(scratch_ / "kept.json"), "mine");
  EXPECT_EQ(init("model", "rows.jsonl", "model").exit_code, 6);
}

TEST_F(Init, PathsAreRelativeToTheConfig) {
  const auto shell = [this](const std::string& arguments) {
    Process process(
        {"/bin/sh", "-c", "cd '" + scratch_.path().string() + "' && '" + lora::test::program_folder() + "/lora-train' " + arguments});
    return process.wait();
  };
  ASSERT_EQ(shell("--init model rows.jsonl").exit_code, 0);
  const Json here = Json::parse(read_text(scratch_ / "run.json"));
  EXPECT_EQ(here["model"]["path"], "model");
  EXPECT_EQ(here["data"]["train"][0]["path"], "rows.jsonl");
  EXPECT_EQ(here["output_dir"], "runs/rows");
  EXPECT_EQ(shell("--init model rows.jsonl").exit_code, 6);
  ASSERT_EQ(shell("--init model rows.jsonl --output new/folder/run.json").exit_code, 0);
  const Json below = Json::parse(read_text(scratch_ / "new/folder/run.json"));
  EXPECT_EQ(below["model"]["path"], "../../model");
  EXPECT_EQ(shell("--config new/folder/run.json --set model.device=cpu --dry-run").exit_code, 0);
}

TEST_F(Init, Usage) {
  EXPECT_EQ(lora_train({"--init", path("model")}).exit_code, 2);
  EXPECT_EQ(lora_train({"--init", path("model"), path("rows.jsonl"), "--config", path("pretrain.json")}).exit_code, 2);
  EXPECT_EQ(lora_train({"--config", path("pretrain.json"), "--output", path("first.json"), "--print-config"}).exit_code, 2);
}

TEST(InitImages, WritesAConfigThatARunAccepts) {
  const TemporaryFolder scratch;
  fs::create_directories(scratch / "drawings");
  for (const char* const name : {"rgb", "palette", "rgba"}) {
    fs::copy(kData / "image" / (std::string(name) + ".png"), scratch / "drawings" / (std::string(name) + ".png"));
    write_text(scratch / "drawings" / (std::string(name) + ".txt"), "a drawing");
  }
  const std::string config = (scratch / "first.json").string(), images = (scratch / "drawings").string();
  const Arguments init{"lora-train", "--init", (kData / "diffusion/sd1/model").string(), images, "--output", config};
  const Outcome written = run_tool(init);
  ASSERT_EQ(written.exit_code, 0) << written.err;
  EXPECT_THAT(written.out, AllOf(HasSubstr("Stable Diffusion 1 in bfloat16"), HasSubstr("64 x 64 pixels"), HasSubstr("3 images"),
                                 HasSubstr("0 without a caption"), HasSubstr("3 have fewer pixels")));
  const Json chosen = Json::parse(read_text(config));
  EXPECT_EQ(chosen["training"]["objective"], "denoising");
  EXPECT_EQ(chosen["data"]["resolution"], 64);
  const Outcome checked = run_tool({"lora-train", "--config", config, "--set", "model.device=cpu", "--set",
                                    "output_dir=" + (scratch / "run").string(), "--dry-run"});
  ASSERT_EQ(checked.exit_code, 0) << checked.err;
  EXPECT_THAT(checked.out, AllOf(HasSubstr("pixels, latents [4, "), HasSubstr("text states [77, 16]: a drawing\n  ids 602 ")));
  fs::remove(config);
  fs::remove(scratch / "drawings/rgb.txt");
  EXPECT_THAT(run_tool(init).out, HasSubstr("1 image without a caption"));
  fs::remove(config);
  write_text(scratch / "drawings/rgb.png", "no image");
  EXPECT_EQ(run_tool(init).exit_code, 3);
  EXPECT_FALSE(fs::exists(config));
}

}  // namespace
}  // namespace lora::test
