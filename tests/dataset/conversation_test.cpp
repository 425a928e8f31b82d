// Columns of messages rows with the names of other tools: roles, turns excluded from the loss, variables of the template, tools.
#include "data/conversation.h"

#include <gtest/gtest.h>

#include "lora/base/python_json.h"
#include "lora/data/dataset.h"
#include "lora/nn/batch.h"
#include "support/expect_error.h"
#include "support/paths.h"
#include "support/temporary_folder.h"

namespace lora::data {
namespace {

constexpr const char* kStyledTemplate =
    "{% if style is defined %}[{{ style }}]{% endif %}{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}"
    "<{{ m.role }}>{{ m.content }}{% for c in m.tool_calls or [] %}{{ c.function | tojson }}{% endfor %}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}";

ChatRow read(const std::string& json, const std::string& source = kStyledTemplate) {
  const Row row{parse_python_json(json, "f.jsonl", ErrorKind::kData, 3), "f.jsonl:3"};
  const SourceOptions no_renames;
  const tokenizer::ChatTemplate chat_template("t", source, {});
  return read_conversation(Fields(row, no_renames), chat_template);
}

std::string messages(const std::string& json, const std::string& source = kStyledTemplate) {
  return read(json, source).conversation.messages.dump();
}

void expect_refused_conversation(const std::string& json, std::vector<std::string> parts) {
  SCOPED_TRACE(json);
  parts.insert(parts.begin(), "[f.jsonl:3");
  test::expect_error(ErrorKind::kData, parts, [&] { read(json); });
}

TEST(Conversations, NamesOfShareGptAndOthers) {
  EXPECT_EQ(messages(R"({"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b", "x": 1}]})"),
            R"([{"role":"user","content":"a"},{"role":"assistant","content":"b","x":1}])");
  EXPECT_EQ(messages(R"({"messages": [{"role": "human", "content": "a"}, {"role": "model", "content": "b"}, )"
                     R"({"role": "observation", "content": "c"}]})"),
            R"([{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"tool","content":"c"}])");
  EXPECT_EQ(messages(R"({"conversations": "[{\"from\": \"user\", \"value\": \"a\"}]", "system": "s"})"),
            R"([{"role":"system","content":"s"},{"role":"user","content":"a"}])");
  EXPECT_EQ(messages(R"({"conversations": [{"from": "function_call", "value": "{\"name\": \"f\", \"arguments\": {\"x\": 1}}"}]})"),
            R"([{"role":"assistant","content":"","tool_calls":[{"type":"function","function":{"name":"f","arguments":{"x":1}}}]}])");
  EXPECT_EQ(messages(R"({"messages": [{"role": "assistant", "content": null, "function_call": {"name": "f", "arguments": "{\"x\": 1}"}},)"
                     R"( {"role": "function", "name": "f", "content": "r"}]})"),
            R"([{"role":"assistant","content":null,"tool_calls":[{"type":"function","function":{"name":"f","arguments":{"x":1}}}]},)"
            R"({"role":"tool","name":"f","content":"r"}])");
  // Roles that the template itself names are kept.
  const std::string own =
      std::string(kStyledTemplate) + "{% if messages[0].role == 'critic' or messages[0]['role'] == \"observation\" %}{% endif %}";
  EXPECT_EQ(messages(R"({"messages": [{"role": "critic", "content": "a"}, {"role": "observation", "content": "b"}]})", own),
            R"([{"role":"critic","content":"a"},{"role":"observation","content":"b"}])");
  EXPECT_EQ(
      messages(R"({"messages": [{"role": "model", "content": "a"}]})", "{% if m.role == 'assistant' %}{% set role = 'model' %}{% endif %}"),
      R"([{"role":"assistant","content":"a"}])");
  EXPECT_EQ(messages(R"({"messages": [{"role": "developer", "content": "a"}]})"), R"([{"role":"developer","content":"a"}])");
  expect_refused_conversation(R"({"messages": [{"role": "user", "content": "a"}, {"role": "critic", "content": "b"}]})",
                              {"messages[1]: the role is unknown: found \"critic\", expected system, developer, user, assistant or tool"});
  expect_refused_conversation(R"({"conversations": [{"from": "function_call", "value": "look it up"}]})",
                              {"messages[0]", "not valid JSON"});
  expect_refused_conversation(R"({"conversations": [{"from": "function_call", "value": "[1]"}]})",
                              {"messages[0]: found \"[1]\", expected a call"});
  expect_refused_conversation(R"({"messages": [{"role": "system", "content": "a"}], "system": "b"})",
                              {"\"system\": found together with a system message"});
}

TEST(Conversations, TurnsThatAreExcludedFromTheLoss) {
  for (const char* key :
       {"\"weight\": 0", "\"train\": false", "\"training\": false", "\"trainable\": 0", "\"loss\": false", "\"weight\": 0.0"}) {
    const ChatRow row = read(std::string(R"({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", )") +
                             key + R"(}, {"role": "assistant", "content": "c", "weight": 1, "train": null}]})");
    EXPECT_EQ(row.excluded, (std::vector<bool>{false, true, false})) << key;
  }
  const auto turn = [](const char* role, const char* key) {
    return std::string(R"({"messages": [{"role": ")") + role + "\", \"content\": \"a\", " + key + "}]}";
  };
  EXPECT_EQ(read(turn("user", "\"weight\": 0")).excluded, (std::vector<bool>{true}));
  expect_refused_conversation(turn("assistant", "\"weight\": 0.5"), {"messages[0].weight: found 0.5, expected 0 or 1"});
  expect_refused_conversation(turn("assistant", "\"train\": \"no\""), {"messages[0].train: found \"no\""});
  expect_refused_conversation(turn("user", "\"train\": true"), {"messages[0].train: found true on a turn of the role \"user\""});
  expect_refused_conversation(turn("assistant", "\"training_detail\": [{\"begin_offset\": 0}]"),
                              {"messages[0].training_detail", "parts of a turn"});
}

TEST(Conversations, ToolsAndVariablesOfTheTemplate) {
  const auto tools = [](const std::string& columns) {
    return read("{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}], " + columns + "}").conversation.tools.dump();
  };
  EXPECT_EQ(tools(R"("tools": "[{\"name\": \"f\"}]")"), R"([{"name":"f"}])");
  EXPECT_EQ(tools(R"("tools": ["{\"name\": \"f\"}", {"name": "g"}])"), R"([{"name":"f"},{"name":"g"}])");
  EXPECT_EQ(tools(R"("tools": "")"), "null");
  EXPECT_EQ(tools(R"("tools": [])"), "[]");
  EXPECT_EQ(tools(R"("functions": [{"name": "f"}])"), R"([{"type":"function","function":{"name":"f"}}])");
  EXPECT_EQ(tools(R"("tools": [{"name": "f"}], "chat_template_kwargs": {"tools": [{"name": "h"}]})"), R"([{"name":"h"}])");
  const auto row = [](const std::string& kwargs) {
    return R"({"messages": [{"role": "user", "content": "a"}], "chat_template_kwargs": )" + kwargs + "}";
  };
  EXPECT_EQ(read(row(R"({"style": "short", "n": 1})")).conversation.kwargs.dump(), R"({"style":"short","n":1})");
  EXPECT_EQ(read(row(R"("{\"style\": 2}")")).conversation.kwargs.dump(), R"({"style":2})");
  EXPECT_TRUE(read(row("null")).conversation.kwargs.empty());
  expect_refused_conversation(row("[1]"), {"\"chat_template_kwargs\": found an array"});
  expect_refused_conversation(row(R"({"add_generation_prompt": true})"),
                              {"\"chat_template_kwargs\"", "\"add_generation_prompt\", which is not a variable"});
}

/// Rows as training reads them.
class SupervisedRows : public testing::Test {
 protected:
  Dataset load(const std::string& rows, TrainOn train_on = TrainOn::kCompletion, const char* source = kStyledTemplate) {
    const tokenizer::ChatTemplate chat_template("t", source, {});
    LoadContext context{tokenizer_.get(), tokenizer_->vocab_size()};
    context.chat_template = &chat_template;
    DataOptions options;
    options.train_on = train_on;
    SourceOptions from;
    from.path = folder_.write("rows.jsonl", rows);
    from.format = RowFormat::kMessages;
    return load_dataset("data.train", {from}, options, context);
  }
  std::string supervised(const Example& example) const {
    std::vector<int32_t> ids;
    for (const int32_t label : example.labels()) {
      if (label != nn::kIgnoreLabel) {
        ids.push_back(label);
      }
    }
    return tokenizer_->decode(ids, true);
  }

  test::TemporaryFolder folder_;
  std::unique_ptr<tokenizer::Tokenizer> tokenizer_ =
      tokenizer::load_tokenizer(std::filesystem::path(lora::test::data_folder()) / "tokenizer_json/llama3.json");
};

TEST_F(SupervisedRows, WeightsAndVariablesOfARowAreHonoured) {
  const std::string row = R"({"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "bad", "weight": 0},)"
                          R"( {"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}])";
  EXPECT_EQ(supervised(load(row + "}").examples.at(0)), "yo<|eot_id|>");
  EXPECT_EQ(supervised(load(row + "}", TrainOn::kAll).examples.at(0)),
            "<user>hi<|eot_id|><assistant><user>hi<|eot_id|><assistant>yo<|eot_id|>");
  const char* marked =
      "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}<|eot_id|>{% endgeneration %}{% else %}"
      "{{ m.content }}{% endif %}{% endfor %}";
  EXPECT_EQ(supervised(load(row + "}", TrainOn::kCompletion, marked).examples.at(0)), "yo<|eot_id|>");
  EXPECT_EQ(load(row + R"(, "chat_template_kwargs": {"style": "short"}})").examples.at(0).ids().size(),
            load(row + "}").examples.at(0).ids().size() + tokenizer_->encode("[short]").size());
  EXPECT_EQ(supervised(load(row + R"(, "weight": 1})").examples.at(0)), "yo<|eot_id|>");
  EXPECT_EQ(load(row + "}\n" + row + R"(, "weight": 0})").report.skipped, 1);
  test::expect_error(ErrorKind::kData, {"rows.jsonl:1", "\"weight\": found 0.25, expected 0 or 1"},
                     [&] { load(row + R"(, "weight": 0.25})"); });
  test::expect_error(ErrorKind::kData, {"rows.jsonl:1", "\"images\"", "other tools use"}, [&] { load(row + R"(, "images": ["a"]})"); });
  test::expect_error(ErrorKind::kData, {"rows.jsonl:2", "found \"critic\""},
                     [&] { load(row + "}\n" + R"({"messages": [{"role": "critic", "content": "a"}]})"); });
  const Dataset named = load(row + R"(, "id": 7, "source": "x"})");
  ASSERT_EQ(named.report.unused_columns.size(), 1U);
  EXPECT_TRUE(named.report.unused_columns[0].ends_with("rows.jsonl: id, source"));
  // Integers in arguments keep all digits.
  EXPECT_NE(tokenizer_
                ->decode(load(R"({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "", "tool_calls": )"
                              R"([{"function": {"name": "f", "arguments": {"id": 123456789012345678901}}}]}]})")
                             .examples.at(0)
                             .ids(),
                         true)
                .find("{\"id\": 123456789012345678901}"),
            std::string::npos);
}

}  // namespace
}  // namespace lora::data
