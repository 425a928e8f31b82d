// lora-generate: equal to transformers + PEFT, adapters by row, text, chat, signals and invalid input.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <sstream>
#include <thread>

#include "process.h"
#include "support/paths.h"

namespace lora::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

std::vector<Json> rows_of(const std::string& jsonl) {
  std::vector<Json> rows;
  std::istringstream lines(jsonl);
  for (std::string line; std::getline(lines, line);) {
    rows.push_back(Json::parse(line));
  }
  return rows;
}

std::string jsonl(const std::vector<Json>& rows) {
  std::string text;
  for (const Json& row : rows) {
    text += row.dump() + "\n";
  }
  return text;
}

std::vector<Json> golden_rows(const std::string& name) {
  return Json::parse(read_text(fs::path(lora::test::data_folder()) / "generate/greedy.json"))[name].get<std::vector<Json>>();
}

class Generate : public testing::Test {
 protected:
  void SetUp() override {
    copy_case("gqa", scratch_);
    model_ = scratch_ / "gqa/model";
    // The golden rows were generated without EOS, but the case's config.json has one.
    write_text(model_ / "generation_config.json", R"({"eos_token_id": []})");
  }
  Arguments command(const Arguments& more) const {
    Arguments all{"lora-generate", "--model", model_.string(), "--device", "cpu", "--dtype", "float32"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  Outcome generate(const Arguments& more, const std::string& input = "") const { return run_tool(command(more), input); }
  std::vector<Json> complete(const Arguments& more, const std::string& input = "") const {
    const Outcome outcome = generate(more, input);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return rows_of(outcome.out);
  }
  std::string prompts(const std::vector<Json>& rows) const {
    write_text(scratch_ / "prompts.jsonl", jsonl(rows));
    return (scratch_ / "prompts.jsonl").string();
  }
  std::string adapter() const { return (scratch_ / "gqa/adapter").string(); }

  /// Another adapter: the same with a different scale.
  std::string other_adapter() const {
    const fs::path folder = scratch_ / "other";
    if (!fs::exists(folder)) {
      fs::copy(adapter(), folder);
      Json config = Json::parse(read_text(folder / "adapter_config.json"));
      config["lora_alpha"] = 2;
      write_text(folder / "adapter_config.json", config.dump());
    }
    return folder.string();
  }

  /// Switches to a model with random weights and a tokenizer.
  void use_text_model() {
    fs::create_directories(scratch_ / "shape");
    write_text(scratch_ / "shape/config.json",
               R"({"model_type": "llama", "vocab_size": 384, "hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 2,
                   "num_attention_heads": 4, "max_position_embeddings": 512, "initializer_range": 0.3, "torch_dtype": "float32"})");
    fs::copy(fs::path(lora::test::data_folder()) / "tokenizer/bpe.model", scratch_ / "shape/tokenizer.model");
    write_text(scratch_ / "text.jsonl", "{\"text\": \"the river\"}\n");
    write_text(scratch_ / "pretrain.json",
               R"({"model": {"path": "shape", "from_scratch": true, "device": "cpu"}, "adapter": null, "output_dir": "text-model",
                   "data": {"train": [{"path": "text.jsonl", "format": "text"}]}, "training": {"max_steps": 1, "learning_rate": 1e-5}})");
    const Outcome made = lora_train({"--config", (scratch_ / "pretrain.json").string()});
    ASSERT_EQ(made.exit_code, 0) << made.err;
    model_ = scratch_ / "text-model";
  }

  TemporaryFolder scratch_;
  fs::path model_;
};

TEST_F(Generate, RowsEqualTransformersAndPeftInTheOrderOfTheInput) {
  std::vector<Json> rows, expected;
  for (const Json& row : golden_rows("gqa")) {
    if (row["repetition_penalty"] == 1.0) {  // adapters alternate in the file
      rows.push_back({{"input_ids", row["prompt"]}, {"adapter", row["adapter"] ? Json("mine") : Json(nullptr)}, {"id", rows.size() + 70}});
      rows.push_back({{"input_ids", row["prompt"]}, {"adapter", "other"}});
      expected.insert(expected.end(), 2, row);
    }
  }
  const Arguments both{"--adapter", "mine=" + adapter(), "--adapter", "other=" + other_adapter(), "--max-new-tokens", "64"};
  Arguments all = both;
  all.insert(all.end(), {"--prompts", prompts(rows), "--batch-size", "2"});
  const std::vector<Json> found = complete(all);
  ASSERT_EQ(found.size(), rows.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(found[i]["index"], i);
    EXPECT_EQ(found[i]["adapter"], rows[i]["adapter"]);
    EXPECT_EQ(found[i]["input_ids"], rows[i]["input_ids"]);
    EXPECT_EQ(found[i]["finish_reason"], "length");
    EXPECT_TRUE(found[i]["completion"].is_null());  // no tokenizer
    EXPECT_EQ(found[i].contains("id"), i % 2 == 0);
    if (i % 2 == 0) {
      EXPECT_EQ(found[i]["id"], i + 70);
      EXPECT_EQ(found[i]["output_ids"], expected[i]["output_ids"]) << i;
    } else {
      EXPECT_NE(found[i]["output_ids"], expected[i]["output_ids"]) << i;
    }
  }
  // The other adapter gives the same as on its own; rows without a name use the first adapter.
  const std::string one = prompts({{{"input_ids", rows[1]["input_ids"]}}});
  EXPECT_EQ(complete({"--adapter", other_adapter(), "--max-new-tokens", "64", "--prompts", one})[0]["output_ids"], found[1]["output_ids"]);
  Arguments unnamed = both;
  unnamed.insert(unnamed.end(), {"--prompts", one});
  EXPECT_EQ(complete(unnamed)[0]["adapter"], "mine");
}

TEST_F(Generate, EosFromTheModelsFilesEndsARow) {
  const Json row = golden_rows("gqa")[0];
  const std::vector<int> ids = row["output_ids"];
  write_text(model_ / "generation_config.json", Json{{"eos_token_id", {-1, ids[9]}}}.dump());
  const size_t first = static_cast<size_t>(std::find(ids.begin(), ids.end(), ids[9]) - ids.begin());
  const Json found = complete({"--prompts", prompts({{{"input_ids", row["prompt"]}}})})[0];
  EXPECT_EQ(found["finish_reason"], "eos");
  EXPECT_EQ(found["output_ids"], (std::vector<int>(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(first) + 1)));
}

TEST_F(Generate, StreamedTextStopsAndEqualsThatOfRows) {
  use_text_model();
  const Arguments sampled{"--temperature", "0.8", "--top-p", "0.9", "--seed", "3", "--max-new-tokens", "40"};
  const auto with = [&sampled](Arguments more) {
    more.insert(more.end(), sampled.begin(), sampled.end());
    return more;
  };
  const Outcome streamed = generate(with({"--prompt", "the river", "--quiet"}));
  ASSERT_EQ(streamed.exit_code, 0) << streamed.err;
  EXPECT_EQ(streamed.err, "");
  const std::string text = streamed.out.substr(0, streamed.out.size() - 1);
  EXPECT_EQ(streamed.out, text + "\n");
  ASSERT_GT(text.size(), 10U);
  EXPECT_NE(generate(with({"--prompt", "the river", "--seed", "4"})).out, streamed.out);

  const std::vector<Json> prompt_rows{{{"prompt", "the river"}}, {{"prompt", "a"}}, {{"prompt", ""}}, {{"prompt", "green stone"}}};
  const std::string file = prompts(prompt_rows);
  const std::vector<Json> alone = complete(with({"--prompts", file, "--batch-size", "1"}));
  EXPECT_EQ(complete(with({"--prompts", file, "--batch-size", "4"})), alone);
  EXPECT_EQ(complete(with({"--prompts", "-"}), jsonl(prompt_rows)), alone);
  ASSERT_EQ(alone.size(), 4U);
  EXPECT_EQ(alone[0]["completion"], text);
  EXPECT_EQ(alone[0]["prompt"], "the river");
  EXPECT_FALSE(alone[0].contains("input_ids"));

  const std::string stop = text.substr(6, 3);
  EXPECT_EQ(generate(with({"--prompt", "the river", "--stop", "never there", "--stop", stop})).out, text.substr(0, text.find(stop)) + "\n");
  const Json stopped = complete(with({"--prompts", file, "--stop", stop}))[0];
  EXPECT_EQ(stopped["finish_reason"], "stop");
  EXPECT_EQ(stopped["completion"], text.substr(0, text.find(stop)));
  EXPECT_LT(stopped["output_ids"].size(), alone[0]["output_ids"].size());

  // --output has the same rows and leaves standard output alone.
  const std::string output = (scratch_ / "new/o.jsonl").string();
  const Outcome written = generate(with({"--prompts", file, "--output", output}));
  ASSERT_EQ(written.exit_code, 0) << written.err;
  EXPECT_EQ(written.out, "");
  EXPECT_THAT(written.err, HasSubstr("4 of 4 completions"));
  EXPECT_EQ(read_rows(output), alone);
  ASSERT_EQ(generate(with({"--prompt", "the river", "--output", output})).exit_code, 0);
  EXPECT_EQ(read_rows(output), std::vector<Json>{alone[0]});
}

TEST_F(Generate, ChatReadsLinesAndCommandsFromAPipe) {
  use_text_model();
  const Arguments chat{"--chat", "--max-new-tokens", "12"};
  const auto say = [&](const std::string& input) {
    const Outcome outcome = generate(chat, input);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return outcome;
  };
  const std::string hello = say("hello\n").out;
  EXPECT_GT(hello.size(), 5U);
  // The turn has the layout of an instruction row.
  const std::string prompt =
      "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
      "### Instruction:\nhello\n\n### Response:\n";
  EXPECT_EQ(generate({"--prompt", prompt, "--max-new-tokens", "12"}).out, hello);
  // The second turn knows the first, until /reset.
  const std::string twice = say("hello\nhello").out;
  EXPECT_TRUE(twice.starts_with(hello));
  EXPECT_NE(twice, hello + hello);
  EXPECT_EQ(say("hello\n\n/reset\r\nhello\n/quit\nnot read\n").out, hello + hello);

  const Outcome commands = say("/help\n/adapter\n/adapter cat\n/adapter none\n/what\n");
  EXPECT_EQ(commands.out, "");
  EXPECT_THAT(commands.err, HasSubstr("/reset"));
  EXPECT_THAT(commands.err, HasSubstr("adapters: (none); in use: none"));
  EXPECT_THAT(commands.err, HasSubstr("unknown adapter: found 'cat', expected one of none"));
  EXPECT_THAT(commands.err, HasSubstr("unknown command: found '/what'"));
  EXPECT_EQ(say("").out, "");
}

TEST_F(Generate, ChatSwitchesAdapters) {
  use_text_model();
  write_text(scratch_ / "lora.json",
             R"({"model": {"path": "text-model", "device": "cpu"}, "adapter": {"peft_type": "LORA", "init_lora_weights": false, "r": 4,
                 "lora_alpha": 64}, "output_dir": "lora", "data": {"train": [{"path": "text.jsonl", "format": "text"}]},
                 "training": {"max_steps": 1}})");
  ASSERT_EQ(lora_train({"--config", (scratch_ / "lora.json").string()}).exit_code, 0);
  const std::string mine = "mine=" + (scratch_ / "lora").string();
  const auto say = [&](const Arguments& more, const std::string& input) {
    Arguments chat{"--chat", "--max-new-tokens", "12"};
    chat.insert(chat.end(), more.begin(), more.end());
    return generate(chat, input).out;
  };
  const std::string bare = say({}, "hello\n");
  const std::string adapted = say({"--adapter", mine}, "hello\n");
  EXPECT_NE(adapted, bare);
  EXPECT_EQ(say({"--adapter", mine}, "hello\n/reset\n/adapter none\nhello\n/reset\n/adapter mine\nhello\n"), adapted + bare + adapted);
}

TEST_F(Generate, ASignalKeepsTheFinishedRows) {
  std::vector<Json> rows(2000, {{"input_ids", {5, 6, 7}}});
  const Arguments long_run{"--prompts", prompts(rows), "--batch-size", "1", "--max-new-tokens", "50"};
  const auto interrupted_after = [&](const Arguments& more, int signal) {
    Arguments all = command(long_run);
    all.insert(all.end(), more.begin(), more.end());
    all.front().insert(0, std::string(lora::test::program_folder()) + "/");
    Process process(all);
    for (int i = 0; i < 12000 && process.errors_so_far().find("no usable tokenizer") == std::string::npos; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));  // a minute at most, on a busy machine
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(300));  // the rows begin
    process.signal(signal);
    return process.wait();
  };
  const auto expect_whole = [](const std::vector<Json>& found) {
    EXPECT_LT(found.size(), 2000U);
    for (size_t i = 0; i < found.size(); ++i) {
      EXPECT_EQ(found[i]["index"], i);
      EXPECT_EQ(found[i]["output_ids"].size(), 50U);
    }
  };
  const Outcome printed = interrupted_after({}, SIGINT);
  EXPECT_EQ(printed.exit_code, 130) << printed.err;
  expect_whole(rows_of(printed.out));
  const fs::path output = scratch_ / "o.jsonl";
  const Outcome written = interrupted_after({"--output", output.string()}, SIGTERM);
  EXPECT_EQ(written.exit_code, 143) << written.err;
  EXPECT_THAT(written.err, HasSubstr("of 2000 completions"));
  expect_whole(read_rows(output));
}

TEST_F(Generate, InvalidInputGivesOneLineAndTheRightExitCode) {
  const std::string good = prompts({{{"input_ids", {1}}}});
  const auto expect_refused = [this](int exit_code, const Arguments& arguments, const std::vector<std::string>& parts) {
    const Outcome outcome = generate(arguments);
    EXPECT_EQ(outcome.exit_code, exit_code) << outcome.err;
    EXPECT_EQ(outcome.out, "");
    EXPECT_THAT(outcome.err, Not(HasSubstr("c10")));
    for (const std::string& part : parts) {
      EXPECT_THAT(outcome.err, HasSubstr(part));
    }
  };
  expect_refused(2, {}, {"--prompt"});
  expect_refused(2, {"--prompts", good, "--chat"}, {"--prompt"});
  expect_refused(2, {"--prompts", good, "--temperature", "-1"}, {"[temperature]", "-1"});
  expect_refused(2, {"--prompts", good, "--top-k", "5"}, {"[top_k]", "temperature 0"});
  expect_refused(2, {"--prompts", good, "--batch-size", "0"}, {"--batch-size"});
  expect_refused(6, {"--prompts", good, "--output", good}, {"a file that is read"});
  expect_refused(6, {"--prompts", good, "--output", scratch_.path().string()}, {"found a folder"});
  expect_refused(2, {"--chat", "--output", (scratch_ / "o").string()}, {"--output"});
  expect_refused(3, {"--prompts", (scratch_ / "none.jsonl").string()}, {"none.jsonl"});
  expect_refused(4, {"--prompt", "hello"}, {"tokenizer"});
  expect_refused(4, {"--prompts", prompts({{{"prompt", "hello"}}})}, {"tokenizer"});
  write_text(scratch_ / "bad.jsonl", "{\"input_ids\": [1]}\n{\"input_ids\": [1, 101]}\n");
  expect_refused(3, {"--prompts", (scratch_ / "bad.jsonl").string()}, {"bad.jsonl:2", "101", "from 0 to 100"});
  write_text(scratch_ / "bad.jsonl", "{\"input_ids\": [1]}\n{\"input_ids\": }\n");
  expect_refused(3, {"--prompts", (scratch_ / "bad.jsonl").string()}, {"bad.jsonl:2:"});
  write_text(scratch_ / "bad.jsonl", "{\"input_ids\": []}\n");
  expect_refused(3, {"--prompts", (scratch_ / "bad.jsonl").string()}, {"bad.jsonl:1", "at least one"});
  write_text(scratch_ / "bad.jsonl", "{\"input_ids\": [1], \"adapter\": \"mime\"}\n");
  expect_refused(3, {"--prompts", (scratch_ / "bad.jsonl").string(), "--adapter", "mine=" + adapter(), "--adapter", "b=" + other_adapter()},
                 {"bad.jsonl:1", "'mime'", "mine, b", "did you mean 'mine'"});
  const std::string weights = read_text(scratch_ / "other/adapter_model.safetensors");
  write_text(scratch_ / "other/adapter_model.safetensors", weights.substr(0, weights.size() - 9));
  expect_refused(4, {"--prompts", prompts({{{"input_ids", {1}}}}), "--adapter", other_adapter()}, {"adapter_model.safetensors"});
}

TEST_F(Generate, WarnsOfTextBeyondTheTrainedLength) {
  const Outcome outcome = generate({"--prompts", prompts({{{"input_ids", {1}}}, {{"input_ids", {2}}}}), "--max-new-tokens", "70"});
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_THAT(outcome.err, HasSubstr("max_position_embeddings (64)"));
  EXPECT_EQ(outcome.err.find("max_position_embeddings"), outcome.err.rfind("max_position_embeddings"));  // once
}

}  // namespace
}  // namespace lora::test
