// Chat templates: rendered text equals transformers' on the conversations of scripts/golden/chat_templates.py; where a template is
// found; the built-in templates.
#include "lora/tokenizer/chat_template.h"

#include <gtest/gtest.h>

#include "lora/base/file.h"
#include "lora/base/text.h"
#include "support/expect_error.h"
#include "support/golden_time.h"
#include "support/paths.h"
#include "support/temporary_folder.h"

namespace lora::tokenizer {
namespace {

const fs::path kChatFolder = fs::path(lora::test::data_folder()) / "chat";

ChatTemplate golden_template(const std::string& name, const Json& golden) {
  return {name, read_file(kChatFolder / "templates" / (name + ".jinja"), ErrorKind::kModel), golden["tokens"].get<ChatTemplate::Tokens>(),
          "", lora::test::kGoldenTime};
}

Conversation conversation_of(const Json& json) {
  return {json["messages"], json.value("tools", Json())};
}

void expect_rendered(const ChatTemplate& chat_template, const Json& conversation, bool prompt, const Json& expected) {
  SCOPED_TRACE(chat_template.name() + (prompt ? " with" : " without") + " prompt: " + shown(conversation, 2000));
  const auto render = [&] { return chat_template.render(conversation_of(conversation), prompt, "row"); };
  if (expected.is_string()) {
    EXPECT_EQ(render().text, expected.get<std::string>());
  } else if (expected.contains("raised")) {
    test::expect_error(ErrorKind::kData, {"[row]", "rejects", printable(expected["raised"].get<std::string>(), 400)}, render);
  } else {
    EXPECT_THROW(render(), Error);
  }
}

TEST(ChatTemplate, RendersAsTransformers) {
  const Json golden = read_json(kChatFolder / "conversations.json", ErrorKind::kData);
  const Json expected = read_json(kChatFolder / "rendered.json", ErrorKind::kData);
  ASSERT_GE(expected.size(), 18U);
  for (const auto& [name, texts] : expected.items()) {
    const ChatTemplate chat_template = golden_template(name, golden);
    ASSERT_EQ(texts.size(), golden["conversations"].size());
    for (size_t i = 0; i < texts.size(); ++i) {
      expect_rendered(chat_template, golden["conversations"][i], false, texts[i][0]);
      expect_rendered(chat_template, golden["conversations"][i], true, texts[i][1]);
    }
  }
}

class OfFolder : public testing::Test {
 protected:
  OfFolder() { fs::copy_file(fs::path(lora::test::data_folder()) / "tokenizer_json/llama3.json", folder_ / "tokenizer.json"); }
  std::string text(const std::string& choice, const Json& tools = nullptr) const {
    const auto tokenizer = load_tokenizer(folder_.path());
    const auto found = load_chat_template({choice}, folder_.path(), *tokenizer);
    const Json messages{{{"role", "system"}, {"content", "S"}},
                        {{"role", "user"}, {"content", "U"}},
                        {{"role", "assistant"}, {"content", "A"}},
                        {{"role", "user"}, {"content", "V"}}};
    return found ? found->render({messages, tools}, true, "row").text : "(none)";
  }

  test::TemporaryFolder folder_;
};

TEST_F(OfFolder, FindsTheTemplateOfTheModel) {
  EXPECT_EQ(text(""), "(none)");
  folder_.write("tokenizer_config.json",
                R"({"chat_template": "{{ bos_token }}|{{ eos_token }}|{{ pad_token }}", "eos_token": {"content": "<|eot_id|>"}})");
  EXPECT_EQ(text(""), "<|begin_of_text|>|<|eot_id|>|");
  folder_.write("tokenizer_config.json",
                R"({"chat_template": [{"name": "default", "template": "d"}, {"name": "tool_use", "template": "t"}]})");
  EXPECT_EQ(text(""), "d");
  EXPECT_EQ(text("", Json::array()), "t");
  folder_.write("tokenizer_config.json", R"({"chat_template": [{"name": "rag", "template": "d"}]})");
  test::expect_error(ErrorKind::kModel, {"chat_template", "found templates named rag", "default"}, [&] { text(""); });
  folder_.write("chat_template.jinja", "file {{ bos_token }}\n");
  folder_.write("tokenizer_config.json", R"({"chat_template": "no", "bos_token": null})");
  EXPECT_EQ(text(""), "file ");
  folder_.write("own.jinja", "own");
  EXPECT_EQ(text((folder_ / "own.jinja").string()), "own");
  test::expect_error(ErrorKind::kConfig, {"data.chat_template", "'chatm1'", "chatml, llama2", "did you mean 'chatml'"},
                     [&] { text("chatm1"); });
  folder_.write("chat_template.jinja", "{% if %}");
  test::expect_error(ErrorKind::kModel, {"chat_template.jinja:1:7", "expected an expression"}, [&] { text(""); });
}

TEST_F(OfFolder, BuiltInFormats) {
  folder_.write("tokenizer_config.json", R"({"eos_token": "<|eot_id|>"})");
  const std::string bos = "<|begin_of_text|>", eos = "<|eot_id|>";
  EXPECT_EQ(text("chatml"), bos + "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\nA<|im_end|>\n" +
                                "<|im_start|>user\nV<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(text("llama2"), bos + "[INST] <<SYS>>\nS\n<</SYS>>\n\nU [/INST] A " + eos + bos + "[INST] V [/INST]");
  EXPECT_EQ(text("llama3"),
            bos + "<|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nU<|eot_id|>" +
                "<|start_header_id|>assistant<|end_header_id|>\n\nA<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nV<|eot_id|>" +
                "<|start_header_id|>assistant<|end_header_id|>\n\n");
  EXPECT_EQ(text("mistral"), bos + "[INST] S\n\nU [/INST] A" + eos + "[INST] V [/INST]");
  EXPECT_EQ(text("gemma"),
            bos + "<start_of_turn>user\nS\n\nU<end_of_turn>\n<start_of_turn>model\nA<end_of_turn>\n<start_of_turn>user\nV<end_of_turn>\n" +
                "<start_of_turn>model\n");
  EXPECT_EQ(text("phi3"), bos + "<|system|>\nS<|end|>\n<|user|>\nU<|end|>\n<|assistant|>\nA<|end|>\n<|user|>\nV<|end|>\n<|assistant|>\n");
  EXPECT_EQ(text("zephyr"),
            bos + "<|system|>\nS" + eos + "\n<|user|>\nU" + eos + "\n<|assistant|>\nA" + eos + "\n<|user|>\nV" + eos + "\n<|assistant|>\n");
  EXPECT_EQ(text("alpaca"), bos + "S\n\n### Instruction:\nU\n\n### Response:\nA" + eos + "\n\n### Instruction:\nV\n\n### Response:\n");
  EXPECT_EQ(text("vicuna"), bos + "S USER: U ASSISTANT: A" + eos + "USER: V ASSISTANT:");
  EXPECT_EQ(builtin_chat_templates().size(), 9U);
}

// scripts/golden/builtin_templates.py
TEST_F(OfFolder, BuiltInTemplatesRenderAsInTransformers) {
  const Json golden = read_json(kChatFolder / "builtin.json", ErrorKind::kData);
  for (const bool has_bos : {true, false}) {
    const std::string tokens = has_bos ? "<|begin_of_text|> <|eot_id|>" : "<|endoftext|> <|endoftext|>";
    fs::copy_file(fs::path(lora::test::data_folder()) / "tokenizer_json" / (has_bos ? "llama3.json" : "qwen2.json"),
                  folder_ / "tokenizer.json", fs::copy_options::overwrite_existing);
    folder_.write("tokenizer_config.json",
                  Json{{"bos_token", tokens.substr(0, tokens.find(' '))}, {"eos_token", tokens.substr(tokens.find(' ') + 1)}}.dump());
    const auto tokenizer = load_tokenizer(folder_.path());
    ASSERT_EQ(tokenizer->add_bos(), has_bos);
    const Json& by_name = golden[has_bos ? "bos" : "no_bos"];
    ASSERT_EQ(by_name.size(), builtin_chat_templates().size());
    for (const auto& [name, texts] : by_name.items()) {
      const auto used = load_chat_template({name}, folder_.path(), *tokenizer);
      test::TemporaryFolder adapter;
      write_template_texts(adapter.path(), used->texts());
      EXPECT_EQ(read_template_texts(adapter.path()), used->texts());
      const auto saved = load_chat_template({"", adapter.path()}, folder_.path(), *tokenizer);
      EXPECT_EQ(saved->identity(), used->identity());
      for (size_t i = 0; i < texts.size(); ++i) {
        const Conversation conversation{golden["conversations"][i], nullptr};
        EXPECT_EQ(used->render(conversation, false, "row").text, texts[i][0].get<std::string>()) << name;
        EXPECT_EQ(saved->render(conversation, true, "row").text, texts[i][1].get<std::string>()) << name;
      }
    }
  }
}

TEST_F(OfFolder, AdapterTemplatesAndNamesThatAreNotPaths) {
  folder_.write("tokenizer_config.json", R"({"chat_template": "own"})");
  test::TemporaryFolder adapter;
  const auto tokenizer = load_tokenizer(folder_.path());
  const auto text_of = [&](const std::string& name) {
    const auto found = load_chat_template({name, adapter.path(), "--chat-template"}, folder_.path(), *tokenizer);
    return found ? found->render({Json{{{"role", "user"}, {"content", "U"}}}, nullptr}, false, "row").text : "(none)";
  };
  EXPECT_FALSE((ChatTemplateChoice{"", adapter.path()}.is_given()));
  EXPECT_EQ(text_of(""), "own");
  // TRL and other tools save the tokenizer's files next to the adapter; older versions keep the template in tokenizer_config.json.
  adapter.write("tokenizer_config.json", R"({"chat_template": "theirs"})");
  EXPECT_EQ(text_of(""), "theirs");
  adapter.write("chat_template.jinja", "newer");
  EXPECT_TRUE((ChatTemplateChoice{"", adapter.path()}.is_given()));
  EXPECT_EQ(text_of(""), "newer");
  EXPECT_EQ(text_of("model"), "own");
  EXPECT_EQ(text_of("none"), "(none)");
  EXPECT_EQ(text_of(adapter.path().string()), "newer");
  test::expect_error(ErrorKind::kConfig, {"[--chat-template]", "'/no/chatlm'", "did you mean 'chatml'"}, [&] { text_of("/no/chatlm"); });
  test::TemporaryFolder empty;
  test::expect_error(ErrorKind::kConfig, {"[--chat-template]", "without a chat template"}, [&] { text_of(empty.path().string()); });

  // Several templates: both are written as files, and as entries of tokenizer_config.json if there is one.
  write_template_texts(adapter.path(), {"d", "t"});
  EXPECT_EQ(read_file(adapter / "additional_chat_templates/tool_use.jinja", ErrorKind::kModel), "t");
  fs::remove(adapter / "chat_template.jinja");
  EXPECT_EQ(read_template_texts(adapter.path()), (TemplateTexts{"d", "t"}));
  write_template_texts(adapter.path(), {"alone"});
  EXPECT_EQ(read_template_texts(adapter.path()), (TemplateTexts{"alone"}));
  folder_.write("tokenizer_config.json", "{}");
  test::expect_error(ErrorKind::kConfig, {"\"model\"", "of its own"}, [&] { text_of("model"); });
}

TEST_F(OfFolder, IdentityChangesWithTextAndTokens) {
  const auto identity = [&](const std::string& choice) {
    const auto tokenizer = load_tokenizer(folder_.path());
    return load_chat_template({choice}, folder_.path(), *tokenizer)->identity();
  };
  const std::string before = identity("zephyr");
  EXPECT_EQ(identity("zephyr"), before);
  EXPECT_NE(identity("phi3"), before);
  folder_.write("tokenizer_config.json", R"({"eos_token": "<|eot_id|>"})");
  EXPECT_NE(identity("zephyr"), before);
}

TEST(ChatTemplate, RejectsInvalidConversations) {
  const ChatTemplate chat_template("t", "{{ messages[0].content }}", {});
  const auto expect = [&](const std::vector<std::string>& parts, const Json& messages, const Json& tools = nullptr) {
    test::expect_error(ErrorKind::kData, parts, [&] { chat_template.render({messages, tools}, false, "f:3"); });
  };
  expect({"[f:3]", "an empty array"}, Json::array());
  expect({"[f:3]", "an object"}, Json::object());
  expect({"[f:3]", "messages[0]", "\"role\""}, Json::array({"hello"}));
  expect({"[f:3]", "messages[1]", "\"role\""}, {{{"role", "user"}}, {{"content", "x"}}});
  expect({"[f:3]", "tools", "an object"}, {{{"role", "user"}}}, Json::object());
}

}  // namespace
}  // namespace lora::tokenizer
