// The text of special tokens in rows and prompts in every program, and an EOS that only special_tokens_map.json names: equal to
// transformers and TRL (scripts/golden/trl_texts.py).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "process.h"
#include "support/paths.h"

namespace lora::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

const fs::path kSpecialTokensFolder = fs::path(lora::test::data_folder()) / "special_tokens";
const std::string kSpecialTokensModel = (kSpecialTokensFolder / "base").string();
constexpr int32_t kEos = 258;  // <|im_end|>; config.json's is 257

class SpecialTokens : public testing::Test {
 protected:
  std::vector<Json> run_rows(std::vector<std::string> command, const std::string& output_flag) {
    command.insert(command.end(), {output_flag, (scratch_ / "out.jsonl").string()});
    const Outcome outcome = run_tool(command);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return read_rows(scratch_ / "out.jsonl");
  }
  TemporaryFolder scratch_;
};

TEST_F(SpecialTokens, EvalAndTokenizeGiveTheIdsOfTransformers) {
  const Json golden = read_json(kSpecialTokensFolder / "losses.json", ErrorKind::kData);
  for (const auto& [name, format] : {std::pair("text", "text"), {"pairs", "prompt_completion"}}) {
    const Json& expected = golden[name];
    std::vector<std::string> command{"lora-eval", "--model", kSpecialTokensModel, "--device", "cpu", "--json", "--format",
                                     format,      "--data"};
    command.push_back((kSpecialTokensFolder / (std::string(name) + ".jsonl")).string());
    const Json result = Json::parse(run_tool(command).out);
    EXPECT_NEAR(result["loss"].get<double>(), expected["loss"].get<double>(), 1e-5);
    EXPECT_EQ(result["num_tokens"], expected["num_tokens"]);
    const std::vector<Json> rows = run_rows(command, "--token-logprobs");
    ASSERT_EQ(rows.size(), expected["ids"].size());
    for (size_t i = 0; i < rows.size(); ++i) {
      EXPECT_EQ(rows[i]["input_ids"], expected["ids"][i]);
    }
    command.emplace_back("--no-parse-special-tokens");
    const Json plain = Json::parse(run_tool(command).out);
    EXPECT_GT(plain["num_input_tokens"].get<int64_t>(), result["num_input_tokens"].get<int64_t>() + 20);
  }
  std::vector<std::string> command{"lora-tokenize", "--model", kSpecialTokensModel, "--input",
                                   (kSpecialTokensFolder / "text.jsonl").string()};
  Json ids = run_rows(command, "--output").front()["input_ids"];
  ids.push_back(kEos);  // only training adds it
  EXPECT_EQ(ids, golden["text"]["ids"][0]);
  command.emplace_back("--no-parse-special-tokens");
  EXPECT_EQ(run_rows(command, "--output").front()["input_ids"].size(), 65U);  // one token per byte
}

TEST_F(SpecialTokens, GenerateReadsThemInPrompts) {
  const std::string text = "<|im_start|>hi<|im_end|>";
  const std::vector<Json> plain_row = run_rows({"lora-tokenize", "--model", kSpecialTokensModel, "--no-parse-special-tokens", "--input",
                                                scratch_.write("text.jsonl", Json{{"text", text}}.dump())},
                                               "--output");
  ASSERT_EQ(plain_row.size(), 1U);
  const Json& bytes = plain_row[0]["input_ids"];
  const std::string prompts = scratch_.write("p.jsonl", Json{{"prompt", text}}.dump() + "\n" + R"({"input_ids": [256, 71, 72, 258]})" +
                                                            "\n" + Json{{"input_ids", bytes}}.dump() + "\n");
  std::vector<std::string> command{"lora-generate",    "--model", kSpecialTokensModel, "--device", "cpu",
                                   "--max-new-tokens", "6",       "--prompts",         prompts};
  const std::vector<Json> parsed = run_rows(command, "--output");
  EXPECT_EQ(parsed[0]["output_ids"], parsed[1]["output_ids"]);
  command.emplace_back("--no-parse-special-tokens");
  const std::vector<Json> plain = run_rows(command, "--output");
  EXPECT_EQ(plain[0]["output_ids"], plain[2]["output_ids"]);
  EXPECT_NE(plain[0]["output_ids"], parsed[0]["output_ids"]);
}

TEST_F(SpecialTokens, TrainShowsThemAndSplitsAfterThem) {
  const Json config{
      {"model", {{"path", kSpecialTokensModel}, {"device", "cpu"}}},
      {"adapter", {{"r", 2}, {"target_modules", "all-linear"}}},
      {"data", {{"train", {{{"path", (kSpecialTokensFolder / "text.jsonl").string()}, {"format", "text"}}}}, {"max_length", 64}}},
      {"training", {{"max_steps", 1}}},
      {"output_dir", (scratch_ / "out").string()}};
  const std::string file = scratch_.write("run.json", config.dump());
  EXPECT_THAT(lora_train({"--config", file, "--dry-run"}).out, HasSubstr("text.jsonl:1: 26 tokens"));
  EXPECT_THAT(lora_train({"--config", file, "--dry-run", "--set", "data.parse_special_tokens=false"}).out, Not(HasSubstr("26 tokens")));
  // If a document begins with BOS, so does each of its parts.
  const fs::path model = scratch_ / "model";
  fs::copy(kSpecialTokensModel, model);
  scratch_.write("model/special_tokens_map.json", R"({"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"})");
  const Outcome split = lora_train({"--config", file, "--dry-run", "--set", "model.path=" + model.string(), "--set", "data.max_length=10",
                                    "--set", "data.overlength=split"});
  EXPECT_THAT(split.out, HasSubstr("10 tokens, 9 supervised\n  <|im_start|>⟦user\nhi<|im_end|>\n⟧"));
  EXPECT_THAT(split.out, HasSubstr("10 tokens, 9 supervised\n  <|im_start|>⟦<|im_start|>assist"));
}

}  // namespace
}  // namespace lora::test
