// Conversations as ids and loss masks: equal to transformers if the template has marks, otherwise by prefixes; templates that break rules.
#include "lora/data/chat.h"

#include <gtest/gtest.h>

#include "data/formats.h"
#include "lora/base/file.h"
#include "lora/data/dataset.h"
#include "lora/nn/batch.h"
#include "support/expect_error.h"
#include "support/golden_time.h"
#include "support/paths.h"
#include "support/temporary_folder.h"

namespace lora::data {
namespace {

using test::kData;
using tokenizer::ChatTemplate;

ChatTemplate golden_template(const std::string& name) {
  return {name,
          read_file(kData / "chat/templates" / (name + ".jinja"), ErrorKind::kModel),
          {{"bos_token", "<s>"}, {"eos_token", "</s>"}},
          "",
          test::kGoldenTime};
}

tokenizer::Conversation conversation_of(const Json& json) {
  return {json["messages"], json.value("tools", Json())};
}

std::vector<int> as_numbers(const std::vector<bool>& mask) {
  return {mask.begin(), mask.end()};
}

/// The supervised text, one entry per run of tokens.
std::vector<std::string> supervised(const EncodedChat& chat, const tokenizer::Tokenizer& tokenizer) {
  std::vector<std::string> runs;
  for (size_t i = 0; i < chat.ids.size();) {
    std::vector<int32_t> run;
    for (; i < chat.ids.size() && chat.mask[i]; ++i) {
      run.push_back(chat.ids[i]);
    }
    if (!run.empty()) {
      runs.push_back(tokenizer.decode(run, true));
    } else {
      ++i;
    }
  }
  return runs;
}

TEST(ChatEncoder, IdsAndMasksEqualTransformers) {
  const Json conversations = read_json(kData / "chat/conversations.json", ErrorKind::kData)["conversations"];
  const Json cases = read_json(kData / "chat/masks.json", ErrorKind::kData);
  ASSERT_GE(cases.size(), 50U);
  for (const Json& expected : cases) {
    SCOPED_TRACE(expected["template"].dump() + expected["tokenizer"].dump() + expected["conversation"].dump());
    const auto tokenizer = tokenizer::load_tokenizer(kData / "tokenizer_json" / (expected["tokenizer"].get<std::string>() + ".json"));
    const ChatTemplate chat_template = golden_template(expected["template"]);
    const Json& conversation = conversations[expected["conversation"].get<size_t>()];
    const EncodedChat chat = ChatEncoder(chat_template, *tokenizer).encode(conversation_of(conversation), TrainOn::kCompletion, "row");
    EXPECT_EQ(chat.ids, expected["input_ids"].get<std::vector<int32_t>>());
    EXPECT_EQ(as_numbers(chat.mask), expected["mask"].get<std::vector<int>>());
  }
}

class Chats : public testing::Test {
 protected:
  Chats() {
    fs::copy_file(kData / "tokenizer_json/llama3.json", folder_ / "tokenizer.json");
    folder_.write("tokenizer_config.json", R"({"eos_token": "<|eot_id|>", "pad_token": "<|eot_id|>"})");
    tokenizer_ = tokenizer::load_tokenizer(folder_.path());
  }

  static tokenizer::Conversation talk() {
    return {{{{"role", "user"}, {"content", "One?"}},
             {{"role", "assistant"}, {"content", "First."}},
             {{"role", "user"}, {"content", "Two?"}},
             {{"role", "assistant"}, {"content", "Second."}}},
            Json()};
  }
  EncodedChat encode(const std::string& source, TrainOn train_on = TrainOn::kCompletion) const {
    const ChatTemplate chat_template("t", source, {{"bos_token", "<|begin_of_text|>"}, {"eos_token", "<|eot_id|>"}});
    return ChatEncoder(chat_template, *tokenizer_).encode(talk(), train_on, "f.jsonl:7");
  }
  std::vector<std::string> supervised_by(const std::string& source, TrainOn train_on = TrainOn::kCompletion) const {
    return supervised(encode(source, train_on), *tokenizer_);
  }
  void expect_model_error(const std::string& source, const std::vector<std::string>& parts) const {
    test::expect_error(ErrorKind::kModel, parts, [&] { encode(source); });
  }

  test::TemporaryFolder folder_;
  std::unique_ptr<tokenizer::Tokenizer> tokenizer_;
};

constexpr const char* kChatTemplate =
    "{{ bos_token }}{% for m in messages %}<{{ m.role }}>\n{{ m.content }}<|eot_id|>\n{% endfor %}{% if add_generation_prompt "
    "%}<assistant>\n{% endif %}";

TEST_F(Chats, ByPrefixes) {
  using Texts = std::vector<std::string>;
  EXPECT_EQ(supervised_by(kChatTemplate), (Texts{"First.<|eot_id|>\n", "Second.<|eot_id|>\n"}));
  EXPECT_EQ(supervised_by(kChatTemplate, TrainOn::kLastTurn), (Texts{"Second.<|eot_id|>\n"}));
  const EncodedChat all = encode(kChatTemplate, TrainOn::kAll);
  EXPECT_EQ(std::count(all.mask.begin(), all.mask.end(), true), static_cast<int64_t>(all.ids.size()));
  EXPECT_EQ(std::count(all.ids.begin(), all.ids.end(), *tokenizer_->bos_id()), 1);
  // A template that does not need a generation prompt.
  EXPECT_EQ(
      supervised_by("{% for m in messages %}{{ '[' + m.content + ']' if m.role == 'user' else ' ' + m.content + eos_token }}{% endfor %}"),
      (Texts{" First.<|eot_id|>", " Second.<|eot_id|>"}));
}

// Qwen3 writes an empty thought into a turn only if no question follows it.
TEST_F(Chats, ByPrefixesWhereTheLastTurnHasMore) {
  const ChatTemplate qwen = golden_template("qwen3");
  const EncodedChat chat = ChatEncoder(qwen, *tokenizer_).encode(talk(), TrainOn::kCompletion, "row");
  EXPECT_EQ(supervised(chat, *tokenizer_), (std::vector<std::string>{"First.<|im_end|>\n", "<think>\n\n</think>\n\nSecond.<|im_end|>\n"}));
}

TEST_F(Chats, ByMarks) {
  using Texts = std::vector<std::string>;
  const std::string marked =
      "{% for m in messages %}<{{ m.role }}>\n{% if m.role == 'assistant' %}{% generation %}{{ m.content }}<|eot_id|>{% endgeneration %}"
      "{% else %}{{ m.content }}{% endif %}\n\n{% endfor %}";
  EXPECT_EQ(supervised_by(marked), (Texts{"First.<|eot_id|>", "Second.<|eot_id|>"}));
  EXPECT_EQ(supervised_by(marked, TrainOn::kLastTurn), (Texts{"Second.<|eot_id|>"}));
  for (const std::string& name : tokenizer::builtin_chat_templates()) {
    SCOPED_TRACE(name);
    const auto chat_template = tokenizer::load_chat_template({name}, folder_.path(), *tokenizer_);
    const EncodedChat chat = ChatEncoder(*chat_template, *tokenizer_).encode(talk(), TrainOn::kCompletion, "row");
    ASSERT_EQ(supervised(chat, *tokenizer_).size(), 2U);
    EXPECT_NE(supervised(chat, *tokenizer_)[1].find("Second."), std::string::npos);
    EXPECT_EQ(supervised(chat, *tokenizer_)[1].find("Two"), std::string::npos);
    EXPECT_EQ(chat.ids.front(), *tokenizer_->bos_id());
    EXPECT_NE(chat.ids[1], *tokenizer_->bos_id());
  }
}

TEST_F(Chats, TemplatesThatBreakARule) {
  expect_model_error("<|begin_of_text|>" + std::string(kChatTemplate), {"[f.jsonl:7]", "t writes two BOS tokens (<|begin_of_text|>)"});
  expect_model_error("{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}",
                     {"[f.jsonl:7] messages[1]", "no generation prompt", "'<assistant>First.\\n'"});
  expect_model_error("{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{{ messages|length }}",
                     {"messages[1]", "prefixes that do not agree", "not a prefix of the messages up to it"});
  expect_model_error(
      "{% for m in messages %}<{{ m.role }}>{{ m.content }}{{ messages|length }}{% endfor %}{% if add_generation_prompt "
      "%}<assistant>{% endif %}",
      {"messages[1]", "do not agree", "last_turn"});
  expect_model_error(
      "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}<|eot_id|>"
      "{% else %}{{ m.content }}{% endif %}{% endfor %}",
      {"excludes the end of the assistant's turn", "<|eot_id|>"});
  const ChatTemplate chat_template("t", kChatTemplate, {});
  const ChatEncoder encoder(chat_template, *tokenizer_);
  test::expect_error(ErrorKind::kModel, {"begins with the assistant"}, [&] {
    encoder.encode({{{{"role", "assistant"}, {"content", "x"}}}, Json()}, TrainOn::kCompletion, "row");
  });
}

TEST_F(Chats, Prompts) {
  const ChatTemplate chat_template("t", kChatTemplate, {});
  const ChatEncoder encoder(chat_template, *tokenizer_);
  EXPECT_EQ(encoder.prompt({{{{"role", "user"}, {"content", "x"}}}, Json()}, "row").text, "<user>\nx<|eot_id|>\n<assistant>\n");
  EXPECT_EQ(tokenizer_->token(*encoder.turn_end()), "<|eot_id|>");
  testing::internal::CaptureStderr();
  encoder.prompt({{{{"role", "user"}, {"content", "x<|eot_id|>"}}}, Json()}, "row 1");
  encoder.prompt({{{{"role", "user"}, {"content", "<|eot_id|>y"}}}, Json()}, "row 2");
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_NE(said.find("[row 1] a message's content contains the text of the special token <|eot_id|>"), std::string::npos) << said;
  EXPECT_EQ(said.find("row 2"), std::string::npos);
}

// Rows through all of data/: labels, EOS only after turns that end with plain text, errors.
TEST_F(Chats, Rows) {
  const auto load = [&](const std::string& rows, const std::string& source, TrainOn train_on = TrainOn::kCompletion) {
    const ChatTemplate chat_template("t", source, {});
    LoadContext context{tokenizer_.get(), tokenizer_->vocab_size()};
    context.chat_template = &chat_template;
    DataOptions options;
    options.train_on = train_on;
    SourceOptions rows_of;
    rows_of.path = folder_.write("rows.jsonl", rows);
    rows_of.format = RowFormat::kMessages;
    rows_of.columns = {{"messages", "chat"}};
    return load_dataset("data.train", {rows_of}, options, context);
  };
  const std::string row = R"({"chat": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]})";
  const int32_t eos = *tokenizer_->eos_id();
  const Example ended = load(row, "{% for m in messages %}{{ m.content }}\n{% endfor %}").examples.at(0);
  EXPECT_EQ(ended.ids().back(), eos);
  EXPECT_EQ(ended.labels().back(), eos);
  EXPECT_EQ(ended.labels().front(), nn::kIgnoreLabel);
  const Example once = load(row, kChatTemplate).examples.at(0);
  EXPECT_EQ(std::count(once.ids().begin(), once.ids().end(), eos), 2);
  const std::vector<int32_t> labels = once.labels();
  EXPECT_EQ(std::count(labels.begin(), labels.end(), eos), 1);  // although the padding token is the same
  // JSON in a string, as in some datasets.
  EXPECT_EQ(load(R"({"chat": "[{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"assistant\", \"content\": \"b\"}]"})", kChatTemplate)
                .examples.at(0)
                .ids(),
            once.ids());
  test::expect_error(ErrorKind::kData, {"rows.jsonl:2", "messages"}, [&] { load(row + "\n{\"chat\": 3}\n", kChatTemplate); });
  test::expect_error(ErrorKind::kData, {"rows.jsonl:1", "\"chat\" is missing"}, [&] { load("{\"messages\": []}\n", kChatTemplate); });
  test::expect_error(ErrorKind::kData, {"rows.jsonl:1", "rejects", "nope"}, [&] { load(row, "{{ raise_exception('nope') }}"); });
  test::expect_error(ErrorKind::kData, {"no example is left"},
                     [&] { load(R"({"chat": [{"role": "user", "content": "a"}]})", kChatTemplate); });
}

TEST(ChatRows, RequireATemplateAndTurns) {
  const test::TemporaryFolder folder;
  const auto tokenizer = tokenizer::load_tokenizer(kData / "tokenizer_json/llama3.json");
  SourceOptions source;
  source.path = folder.write("rows.jsonl", "{\"text\": \"a\"}\n");
  source.format = RowFormat::kMessages;
  DataOptions options;
  const LoadContext context{tokenizer.get(), tokenizer->vocab_size()};
  test::expect_error(ErrorKind::kConfig, {"data.train[0].format", "the model has none", "chatml, llama2"},
                     [&] { load_dataset("data.train", {source}, options, context); });
  source.format = RowFormat::kText;
  options.train_on = TrainOn::kLastTurn;
  test::expect_error(ErrorKind::kConfig, {"data.train_on", "\"last_turn\"", "text"},
                     [&] { load_dataset("data.train", {source}, options, context); });
}

}  // namespace
}  // namespace lora::data
