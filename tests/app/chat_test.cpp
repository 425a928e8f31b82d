// Conversations in every program: training, evaluation, tokenizing, prompts and chats with a chat template.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "chat_model.h"

namespace lora::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

using Chat = ChatModel;

TEST_F(Chat, TrainingEqualsTrainingOnTheSameTokens) {
  std::string tokens;
  for (const Json& row : tokenize()) {
    Json labels = Json::array();
    for (size_t i = 0; i < row["input_ids"].size(); ++i) {
      labels.push_back(row["mask"][i] == 1 ? row["input_ids"][i] : Json(-100));
    }
    tokens += Json{{"input_ids", row["input_ids"]}, {"labels", labels}}.dump() + "\n";
  }
  write_text(scratch_ / "tokens.jsonl", tokens);
  for (const auto& [rows, format] : {std::pair("rows.jsonl", "messages"), std::pair("tokens.jsonl", "tokens")}) {
    const Outcome outcome = train(rows, format, std::string("of-") + format);
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  }
  EXPECT_EQ(losses("of-messages").size(), 4U);
  EXPECT_EQ(losses("of-messages"), losses("of-tokens"));

  const auto eval = [&](const std::string& rows, const std::string& format, const Arguments& more = {}) {
    Arguments all{"lora-eval", "--model", path("model"), "--data", path(rows), "--format", format, "--json"};
    all.insert(all.end(), more.begin(), more.end());
    const Outcome outcome = run_tool(all);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return Json::parse(outcome.out);
  };
  EXPECT_EQ(eval("rows.jsonl", "messages")["loss"], eval("tokens.jsonl", "tokens")["loss"]);
  EXPECT_LT(eval("rows.jsonl", "messages", {"--train-on", "last_turn"})["num_tokens"], eval("rows.jsonl", "messages")["num_tokens"]);
  EXPECT_NE(eval("rows.jsonl", "messages", {"--chat-template", "zephyr"})["num_input_tokens"],
            eval("rows.jsonl", "messages")["num_input_tokens"]);
}

TEST_F(Chat, DryRunShowsTheMask) {
  const Outcome outcome = train("rows.jsonl", "messages", "dry", {"--dry-run"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("user\nthe river<|eot_id|><|start_header_id|>assistant\n⟦is wide<|eot_id|>⟧"));
  const Outcome last = train("rows.jsonl", "messages", "dry", {"--dry-run", "--set", "data.train_on=last_turn"});
  EXPECT_THAT(last.out, AllOf(HasSubstr("\nb c<|eot_id|>"), HasSubstr("⟦e<|eot_id|>⟧")));
}

TEST_F(Chat, TheConfigsTemplateIsUsed) {
  write_text(scratch_ / "own.jinja", "{% for m in messages %}{% generation %}{{ m.content }}!{% endgeneration %}{% endfor %}");
  const Outcome own = train("rows.jsonl", "messages", "dry", {"--dry-run", "--set", "data.chat_template=own.jinja"});
  EXPECT_THAT(own.out, HasSubstr("river!is wide!")) << own.err;
  const Outcome builtin = train("rows.jsonl", "messages", "dry", {"--dry-run", "--set", "data.chat_template=chatml"});
  EXPECT_THAT(builtin.out, HasSubstr("<|im_start|>user\nthe river<|im_end|>")) << builtin.err;
  const Outcome unknown = train("rows.jsonl", "messages", "dry", {"--dry-run", "--set", "data.chat_template=chatlm"});
  EXPECT_EQ(unknown.exit_code, 2);
  EXPECT_THAT(unknown.err, AllOf(HasSubstr("data.chat_template"), HasSubstr("chatml")));
  const Outcome turns = train("text.jsonl", "text", "dry", {"--dry-run", "--set", "data.train_on=last_turn"});
  EXPECT_EQ(turns.exit_code, 2);
  EXPECT_THAT(turns.err, AllOf(HasSubstr("[data.train_on]"), HasSubstr("no turns")));
  write_text(scratch_ / "model/tokenizer_config.json", R"({"eos_token": "<|eot_id|>"})");
  const Outcome none = train("rows.jsonl", "messages", "dry", {"--dry-run"});
  EXPECT_EQ(none.exit_code, 2);
  EXPECT_THAT(none.err, AllOf(HasSubstr("data.train[0].format"), HasSubstr("has none"), HasSubstr("llama3")));
}

TEST_F(Chat, Tokenize) {
  const std::vector<Json> rows = tokenize();
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[0]["text"], "<|start_header_id|>user\nthe river<|eot_id|><|start_header_id|>assistant\nis wide<|eot_id|>");
  EXPECT_EQ(rows[0]["mask"].size(), rows[0]["input_ids"].size());
  EXPECT_EQ(rows[0]["mask"].back(), 1);
  EXPECT_EQ(rows[0]["mask"].front(), 0);
  const std::vector<Json> prompts = tokenize({"--add-generation-prompt", "--chat-template", "zephyr"});
  EXPECT_THAT(prompts[0]["text"].get<std::string>(), testing::EndsWith("<|assistant|>\n"));
  EXPECT_EQ(std::count(prompts[0]["mask"].begin(), prompts[0]["mask"].end(), 1), 0);
  write_text(scratch_ / "rows.jsonl", R"({"messages": []})");
  const Outcome empty = run_tool({"lora-tokenize", "--model", path("model"), "--input", path("rows.jsonl"), "--output", path("x.jsonl")});
  EXPECT_EQ(empty.exit_code, 3);
  EXPECT_THAT(empty.err, AllOf(HasSubstr("rows.jsonl:1"), HasSubstr("an empty array")));
}

TEST_F(Chat, PromptsWithMessages) {
  write_text(scratch_ / "prompts.jsonl", R"({"messages": [{"role": "user", "content": "the river"}], "id": 5})");
  const Outcome outcome = generate({"--prompts", path("prompts.jsonl")});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const Json row = Json::parse(outcome.out);
  EXPECT_EQ(row["messages"][0]["content"], "the river");
  write_text(scratch_ / "rows.jsonl", read_text(scratch_ / "prompts.jsonl"));
  EXPECT_EQ(row["completion"], completion(tokenize({"--add-generation-prompt"})[0]["input_ids"]));
  write_text(scratch_ / "prompts.jsonl", R"({"messages": [], "prompt": "x"})");
  const Outcome both = generate({"--prompts", path("prompts.jsonl")});
  EXPECT_EQ(both.exit_code, 3);
  EXPECT_THAT(both.err, AllOf(HasSubstr("prompts.jsonl:1"), HasSubstr("several of")));
}

TEST_F(Chat, ChatsUseTheTemplate) {
  const Outcome outcome = generate({"--chat"}, "the river\n/system short\nthe river\n/nonsense\n/reset\nthe river\n/quit\n");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("/nonsense"), HasSubstr("/system")));
  const auto answer_to = [&](const std::string& messages) {
    write_text(scratch_ / "rows.jsonl", messages);
    return completion(tokenize({"--add-generation-prompt"})[0]["input_ids"]);
  };
  const std::string first = answer_to(R"({"messages": [{"role": "user", "content": "the river"}]})");
  const std::string second =
      answer_to(R"({"messages": [{"role": "system", "content": "short"}, {"role": "user", "content": "the river"}]})");
  EXPECT_EQ(outcome.out, first + "\n" + second + "\n" + second + "\n");

  // Without a template, turns are laid out as instruction rows, unless one is named.
  write_text(scratch_ / "model/tokenizer_config.json", R"({"eos_token": "<|eot_id|>"})");
  const Outcome plain = generate({"--chat"}, "/system x\nthe river\n");
  EXPECT_EQ(plain.exit_code, 0) << plain.err;
  EXPECT_THAT(plain.err, HasSubstr("no chat template"));
  EXPECT_NE(generate({"--chat", "--chat-template", "llama3"}, "the river\n").out, plain.out);
  const Outcome refused = generate({"--chat", "--chat-template", path("refusing.jinja")}, "x\n");
  EXPECT_EQ(refused.exit_code, 2);
}

}  // namespace
}  // namespace lora::test
