// Rows of prompt_completion whose prompt and completion are messages, rows of training as prompts, and documents in parts, as the user of
// the programs meets them. The ids are compared with TRL's in tests/dataset/message_pairs_test.cpp.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "chat_model.h"
#include "lora/base/file.h"

namespace lora::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

constexpr const char* kPairs =
    R"({"prompt": [{"role": "user", "content": "the river"}], "completion": [{"role": "assistant", "content": "is wide"}]})"
    "\n"
    R"({"prompt": [{"role": "system", "content": "short"}, {"role": "user", "content": "a"}], "completion": )"
    R"([{"role": "assistant", "content": "b c"}, {"role": "user", "content": "d"}, {"role": "assistant", "content": "e"}]})"
    "\n";

class Pairs : public ChatModel {
 protected:
  void SetUp() override {
    ChatModel::SetUp();
    write_text(scratch_ / "pairs.jsonl", kPairs);
    write_text(scratch_ / "texts.jsonl", R"({"prompt": "the river", "completion": " is wide"})");
  }
  Outcome eval(const std::string& data, const std::string& format, const Arguments& more = {}) const {
    Arguments all{"lora-eval", "--model", path("model"), "--device", "cpu", "--json", "--data", path(data), "--format", format};
    all.insert(all.end(), more.begin(), more.end());
    return run_tool(all);
  }
  static std::string hash_of(const fs::path& folder) { return sha256_of_file(folder / "adapter_model.safetensors", ErrorKind::kOutput); }
};

TEST_F(Pairs, TrainAndEvaluateAsTheirIds) {
  const Outcome made = run_tool({"lora-tokenize", "--model", path("model"), "--input", path("pairs.jsonl"), "--output", path("ids.jsonl")});
  ASSERT_EQ(made.exit_code, 0) << made.err;
  const Outcome pairs = train("pairs.jsonl", "prompt_completion", "pairs");
  ASSERT_EQ(pairs.exit_code, 0) << pairs.err;
  EXPECT_THAT(pairs.err, HasSubstr("saved with the result as chat_template.jinja"));
  EXPECT_EQ(read_text(scratch_ / "pairs/chat_template.jinja"), kTemplate);
  ASSERT_EQ(train("ids.jsonl", "tokens", "ids").exit_code, 0);
  EXPECT_EQ(losses("pairs"), losses("ids"));
  EXPECT_EQ(Json::parse(eval("pairs.jsonl", "prompt_completion").out)["loss"], Json::parse(eval("ids.jsonl", "tokens").out)["loss"]);
  const Outcome named = train("pairs.jsonl", "prompt_completion", "named", {"--set", "data.chat_template=chatml"});
  ASSERT_EQ(named.exit_code, 0) << named.err;
  EXPECT_THAT(read_text(scratch_ / "named/chat_template.jinja"), HasSubstr("<|im_start|>"));
}

TEST_F(Pairs, ARowOfWeightZeroHasNoTokensToPredict) {
  write_text(scratch_ / "rows.jsonl",
             R"({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "weight": 0})");
  const std::vector<Json> rows = tokenize();
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_GT(rows[0]["mask"].size(), 0U);
  for (const Json& number : rows[0]["mask"]) {
    EXPECT_EQ(number, 0);
  }
}

TEST_F(Pairs, TextsHaveNoTemplate) {
  const Outcome texts = train("texts.jsonl", "prompt_completion", "texts");
  ASSERT_EQ(texts.exit_code, 0) << texts.err;
  EXPECT_FALSE(fs::exists(scratch_ / "texts/chat_template.jinja"));
  EXPECT_THAT(texts.err, Not(HasSubstr("chat_template")));
  const Outcome named = train("texts.jsonl", "prompt_completion", "named", {"--set", "data.chat_template=chatml"});
  EXPECT_EQ(named.exit_code, 2);
  EXPECT_THAT(named.err, HasSubstr("[data.chat_template] is not used by the rows of this run"));
  const Outcome scored = eval("texts.jsonl", "prompt_completion", {"--chat-template", "chatml"});
  EXPECT_EQ(scored.exit_code, 2);
  EXPECT_THAT(scored.err, HasSubstr("[--chat-template] has no effect"));
  // A damaged template is an error only if it is needed.
  write_text(scratch_ / "model/tokenizer_config.json", Json{{"eos_token", "<|eot_id|>"}, {"chat_template", "{% for %}"}}.dump());
  const Outcome damaged = train("texts.jsonl", "prompt_completion", "damaged");
  EXPECT_EQ(damaged.exit_code, 0);
  EXPECT_THAT(damaged.err, HasSubstr("used only by rows whose prompt and completion are messages"));
  EXPECT_THAT(train("pairs.jsonl", "prompt_completion", "refused").err, HasSubstr("need a chat template"));
}

TEST_F(Pairs, InstructionsAndTextsAsPrompts) {
  const std::string instruction = R"({"instruction": "Say", "input": "the river", "output": "x", "id": 5})";
  const auto rows_of = [&](const std::string& prompts, const Arguments& more = {}) {
    write_text(scratch_ / "prompts.jsonl", prompts + "\n");
    Arguments all{"--prompts", path("prompts.jsonl"), "--output", path("out.jsonl")};
    all.insert(all.end(), more.begin(), more.end());
    const Outcome outcome = generate(all);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return std::pair(read_rows(scratch_ / "out.jsonl"), outcome.err);
  };
  const std::string alpaca =
      "Below is an instruction that describes a task, paired with an input that provides further context. Write a response that "
      "appropriately completes the request.\n\n### Instruction:\nSay\n\n### Input:\nthe river\n\n### Response:\n";
  const auto [plain, said] = rows_of(instruction + "\n" + R"({"text": "the river"})" + "\n" + Json{{"prompt", alpaca}}.dump() + "\n" +
                                     R"({"prompt": "the river"})");
  ASSERT_EQ(plain.size(), 4U);
  EXPECT_THAT(said, HasSubstr("instruction rows are put into Alpaca's prompt"));
  EXPECT_EQ(plain[0]["output_ids"], plain[2]["output_ids"]);
  EXPECT_EQ(plain[1]["output_ids"], plain[3]["output_ids"]);
  EXPECT_EQ(plain[0]["instruction"], "Say");
  EXPECT_EQ(plain[0]["input"], "the river");
  EXPECT_EQ(plain[0]["id"], 5);
  EXPECT_FALSE(plain[0].contains("output"));
  EXPECT_EQ(plain[1]["text"], "the river");
  const auto [chat, by] = rows_of(instruction + "\n" + R"({"messages": [{"role": "user", "content": "Say\nthe river"}]})" + "\n" +
                                      R"({"prompt": [{"role": "user", "content": "Say\nthe river"}]})",
                                  {"--chat-template", "model"});
  ASSERT_EQ(chat.size(), 3U);
  EXPECT_THAT(by, HasSubstr("instruction rows are written by"));
  EXPECT_EQ(chat[0]["output_ids"], chat[1]["output_ids"]);
  EXPECT_EQ(chat[0]["output_ids"], chat[2]["output_ids"]);
  EXPECT_NE(chat[0]["output_ids"], plain[0]["output_ids"]);
}

// With "overlength": "split" every part begins with BOS, packed too, and a resumed run has the same bits.
TEST_F(Pairs, PartsWithBosArePackedAndResumed) {
  write_text(scratch_ / "model/tokenizer_config.json", R"({"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"})");
  std::string rows;
  for (const char* text : {"the green stone and the river and the wide field", "a river", "one two three four five six seven eight", "x"}) {
    rows += Json{{"text", text}}.dump() + "\n";
  }
  write_text(scratch_ / "long.jsonl", rows);
  const Arguments options{"--set", "data.max_length=12",     "--set", "data.overlength=split",
                          "--set", "data.packing=true",      "--set", "training.max_steps=6",
                          "--set", "training.save_steps=3",  "--set", "training.per_device_train_batch_size=1",
                          "--set", "training.logging_steps=1"};
  const auto with = [&](const Arguments& more) {
    Arguments all = options;
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  const Outcome dry = train("long.jsonl", "text", "dry", with({"--dry-run"}));
  ASSERT_EQ(dry.exit_code, 0) << dry.err;
  EXPECT_THAT(dry.out, HasSubstr("12 tokens, 11 supervised\n  <|begin_of_text|>⟦"));
  EXPECT_THAT(dry.err, HasSubstr("2 split"));
  ASSERT_EQ(train("long.jsonl", "text", "whole", options).exit_code, 0);
  const std::string result = hash_of(scratch_ / "whole");
  const std::vector<double> whole = losses("whole");
  ASSERT_EQ(whole.size(), 6U);
  const Outcome resumed = train("long.jsonl", "text", "whole", with({"--resume", path("whole/checkpoint-3")}));
  ASSERT_EQ(resumed.exit_code, 0) << resumed.err;
  EXPECT_EQ(hash_of(scratch_ / "whole"), result);
  EXPECT_EQ(losses("whole"), whole);

  // The parts are those of rows of ids that are cut in the same way.
  const Outcome made = run_tool({"lora-tokenize", "--model", path("model"), "--input", path("long.jsonl"), "--output", path("ids.jsonl")});
  ASSERT_EQ(made.exit_code, 0) << made.err;
  std::string parts;
  for (const Json& row : read_rows(scratch_ / "ids.jsonl")) {
    auto ids = row["input_ids"].get<std::vector<int32_t>>();
    const int32_t bos = ids.front();
    ids.push_back(602);  // EOS
    while (!ids.empty()) {
      const auto size = static_cast<std::ptrdiff_t>(std::min<size_t>(ids.size(), 12));
      parts += Json{{"input_ids", std::vector<int32_t>(ids.begin(), ids.begin() + size)}}.dump() + "\n";
      ids.erase(ids.begin(), ids.begin() + size);
      if (!ids.empty()) {
        ids.insert(ids.begin(), bos);
      }
    }
  }
  write_text(scratch_ / "parts.jsonl", parts);
  ASSERT_EQ(train("parts.jsonl", "tokens", "parts", options).exit_code, 0);
  EXPECT_EQ(losses("parts"), whole);
}

}  // namespace
}  // namespace lora::test
