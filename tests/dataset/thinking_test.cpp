// Templates like those of thinking models, which write a turn differently when other turns follow it: the supervised text of each turn.
#include <gtest/gtest.h>

#include "lora/base/log.h"
#include "lora/data/chat.h"
#include "support/expect_error.h"
#include "support/paths.h"

namespace lora::data {
namespace {

using Texts = std::vector<std::string>;

/// Thoughts are kept if no question follows them; the last turn gets an empty thought if it has none (Qwen3).
constexpr const char* kQwen =
    "{% set ns = namespace(last=-1) %}{% for m in messages %}{% if m.role == 'user' and not m.content.startswith('<response>') %}"
    "{% set ns.last = loop.index0 %}{% endif %}{% endfor %}"
    "{% for m in messages %}{% if m.role == 'assistant' %}{% set thought = m.reasoning_content or '' %}{% set said = m.content or '' %}"
    "{% if '</think>' in said %}{% set thought = said.split('</think>')[0].split('<think>')[-1].strip('\n') %}"
    "{% set said = said.split('</think>')[-1].lstrip('\n') %}{% endif %}"
    "{{ '[assistant\n' }}{% if loop.index0 > ns.last and (loop.last or thought) %}{{ '<think>\n' + thought.strip('\n') + "
    "'\n</think>\n\n' + said }}{% else %}{{ said }}{% endif %}"
    "{% for c in m.tool_calls or [] %}{% if said or not loop.first %}{{ '\n' }}{% endif %}{{ '<call>' + c.function | tojson + '</call>' }}"
    "{% endfor %}{{ '<|eot_id|>\n' }}"
    "{% elif m.role == 'tool' %}{% if loop.first or messages[loop.index0 - 1].role != 'tool' %}{{ '[user' }}{% endif %}"
    "{{ '\n<response>' + m.content + '</response>' }}{% if loop.last or messages[loop.index0 + 1].role != 'tool' %}"
    "{{ '<|eot_id|>\n' }}{% endif %}{% else %}{{ '[' + m.role + '\n' + m.content + '<|eot_id|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '[assistant\n' }}{% if enable_thinking is defined and not enable_thinking %}"
    "{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}";

/// Channels; the last turn ends with another token, and earlier calls lose their thoughts (gpt-oss).
constexpr const char* kChannels =
    "{% set last_call = namespace(name='') %}{% for m in messages %}{% if m.role == 'assistant' %}"
    "{% if m.tool_calls %}{% set later = namespace(found=false) %}{% for f in messages[loop.index:] %}"
    "{% if f.role == 'assistant' and not f.tool_calls %}{% set later.found = true %}{% endif %}{% endfor %}"
    "{% if m.thinking and not later.found %}{{ '[assistant|analysis|' + m.thinking + '<|eom_id|>' }}{% endif %}"
    "{% set call = m.tool_calls[0].function %}{{ '[assistant to=' + call.name + '|' + call.arguments | tojson + '<|eot_id|>' }}"
    "{% set last_call.name = call.name %}{% elif loop.last and not add_generation_prompt %}"
    "{% if m.thinking %}{{ '[assistant|analysis|' + m.thinking + '<|eom_id|>' }}{% endif %}"
    "{{ '[assistant|final|' + m.content + '<|end_of_text|>' }}{% else %}{{ '[assistant|final|' + m.content + '<|eom_id|>' }}{% endif %}"
    "{% elif m.role == 'tool' %}{{ '[' + last_call.name + '|' + m.content | tojson + '<|eom_id|>' }}"
    "{% else %}{{ '[' + m.role + '|' + m.content + '<|eom_id|>' }}{% endif %}{% endfor %}{% if add_generation_prompt %}[assistant{% endif "
    "%}";

/// The generation prompt begins a thought, which is omitted from all rendered turns (DeepSeek-R1).
constexpr const char* kOpenThought =
    "{% for m in messages %}{% if m.role == 'assistant' %}{{ '<A>' + m.content.split('</think>')[-1] + '<|eot_id|>' }}"
    "{% else %}{{ '<U>' + m.content }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<A><think>\n' }}{% endif %}";

/// Turns have no end-of-turn token: the token that begins the next turn ends them (GLM-4.5).
constexpr const char* kNoEnd =
    "{% set ns = namespace(last=-1) %}{% for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}{% endfor "
    "%}"
    "{% for m in messages %}{% if m.role == 'assistant' %}{{ '<|start_header_id|>\n' }}{% if loop.index0 > ns.last and m.reasoning_content "
    "%}"
    "{{ '<think>' + m.reasoning_content + '</think>\n' }}{% else %}{{ '<think></think>\n' }}{% endif %}{{ m.content }}"
    "{% for c in m.tool_calls or [] %}{{ '\n<call>' + c.function.name }}{% for k, v in c.function.arguments.items() %}"
    "{{ '<key>' + k + '<value>' + v | string }}{% endfor %}{{ '</call>' }}{% endfor %}"
    "{% elif m.role == 'tool' %}{{ '<|eot_id|>\n' + m.content }}{% else %}{{ '<|end_of_text|>\n' + m.content }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>' }}{% endif %}";

Json call_of(Json arguments) {
  return {{{"type", "function"}, {"function", {{"name", "look"}, {"arguments", std::move(arguments)}}}}};
}

Json agent(const Json& arguments) {
  return {{{"role", "user"}, {"content", "Where?"}},
          {{"role", "assistant"}, {"content", ""}, {"reasoning_content", "I must look."}, {"tool_calls", call_of(arguments)}},
          {{"role", "tool"}, {"content", "here"}},
          {{"role", "assistant"}, {"content", "It is here."}, {"reasoning_content", "So it is."}},
          {{"role", "user"}, {"content", "Thanks!"}},
          {{"role", "assistant"}, {"content", "Gern, é."}, {"reasoning_content", "Be kind."}}};
}

class Thinking : public testing::Test {
 protected:
  Texts supervised(const char* source, const Json& messages, const Json& kwargs = Json(), TrainOn train_on = TrainOn::kCompletion,
               const std::vector<bool>& excluded = {}) const {
    const tokenizer::ChatTemplate chat_template("t", source, {});
    const EncodedChat chat = ChatEncoder(chat_template, *tokenizer_).encode({messages, Json(), kwargs}, train_on, "f.jsonl:7", excluded);
    Texts runs;
    for (size_t i = 0; i < chat.ids.size(); ++i) {
      if (chat.mask[i]) {
        if (i == 0 || !chat.mask[i - 1]) {
          runs.emplace_back();
        }
        runs.back() += tokenizer_->decode({chat.ids[i]}, true);
      }
    }
    return runs;
  }

  std::unique_ptr<tokenizer::Tokenizer> tokenizer_ =
      tokenizer::load_tokenizer(std::filesystem::path(lora::test::data_folder()) / "tokenizer_json/llama3.json");
};

TEST_F(Thinking, ThoughtsThatAreOmittedWhenAQuestionFollows) {
  const Json calls = agent({{"x", 1}});
  EXPECT_EQ(supervised(kQwen, calls), (Texts{"<call>{\"name\": \"look\", \"arguments\": {\"x\": 1}}</call><|eot_id|>\n",
                                         "It is here.<|eot_id|>\n", "<think>\nBe kind.\n</think>\n\nGern, é.<|eot_id|>\n"}));
  // With one question every thought is kept.
  const Json one(std::vector<Json>(calls.begin(), calls.begin() + 4));
  EXPECT_EQ(supervised(kQwen, one),
            (Texts{"<think>\nI must look.\n</think>\n\n<call>{\"name\": \"look\", \"arguments\": {\"x\": 1}}</call><|eot_id|>\n",
                   "<think>\nSo it is.\n</think>\n\nIt is here.<|eot_id|>\n"}));
  EXPECT_EQ(supervised(kQwen, calls, Json(), TrainOn::kLastTurn), (Texts{"<think>\nBe kind.\n</think>\n\nGern, é.<|eot_id|>\n"}));
  // A call without arguments, two tools, thoughts in the content.
  Json more = agent(Json::object());
  more.insert(more.begin() + 3, Json{{"role", "tool"}, {"content", "there"}});
  more[4] = {{"role", "assistant"}, {"content", "<think>\nhm\n</think>\n\nIt is here."}};
  more[6] = {{"role", "assistant"}, {"content", "x"}};
  EXPECT_EQ(supervised(kQwen, more), (Texts{"<call>{\"name\": \"look\", \"arguments\": {}}</call><|eot_id|>\n", "It is here.<|eot_id|>\n",
                                        "<think>\n\n</think>\n\nx<|eot_id|>\n"}));
  // If the generation prompt has an empty thought, that of the last turn is part of the prompt.
  EXPECT_EQ(supervised(kQwen, more, {{"enable_thinking", false}}).back(), "x<|eot_id|>\n");
  EXPECT_EQ(supervised(kQwen, more, Json(), TrainOn::kCompletion, {false, false, false, false, true}),
            (Texts{"<call>{\"name\": \"look\", \"arguments\": {}}</call><|eot_id|>\n", "<think>\n\n</think>\n\nx<|eot_id|>\n"}));
}

TEST_F(Thinking, OtherFamilies) {
  for (const Json& arguments : {Json{{"x", 1}}, Json::object(), Json{{"q", "é"}}}) {
    const std::string written = arguments.empty() ? "{}" : arguments.contains("x") ? "{\"x\": 1}" : "{\"q\": \"é\"}";
    EXPECT_EQ(supervised(kChannels, agent(arguments)), (Texts{" to=look|" + written + "<|eot_id|>", "|final|It is here.<|eom_id|>",
                                                          "|analysis|Be kind.<|eom_id|>[assistant|final|Gern, é.<|end_of_text|>"}));
  }
  const Json thoughts{{{"role", "user"}, {"content", "a"}},
                      {{"role", "assistant"}, {"content", "<think>\nb\n</think>c"}},
                      {{"role", "user"}, {"content", "d"}},
                      {{"role", "assistant"}, {"content", "<think>\ne\n</think>f"}}};
  testing::internal::CaptureStderr();
  EXPECT_EQ(supervised(kOpenThought, thoughts), (Texts{"c<|eot_id|>", "f<|eot_id|>"}));
  EXPECT_NE(testing::internal::GetCapturedStderr().find("[f.jsonl:7] the chat template t omits the thought of messages[1]"),
            std::string::npos);
  Json quoted = agent("{\"x\": 1}");
  testing::internal::CaptureStderr();
  supervised(kChannels, Json(std::vector<Json>(quoted.begin(), quoted.begin() + 3)));
  EXPECT_NE(testing::internal::GetCapturedStderr().find("quotes the arguments of the tool_calls of messages[1] a second time"),
            std::string::npos);
  EXPECT_EQ(supervised(kNoEnd, agent({{"x", 1}})),
            (Texts{"\n<think></think>\n\n<call>look<key>x<value>1</call><|eot_id|>", "\n<think></think>\nIt is here.<|end_of_text|>",
                   "\n<think>Be kind.</think>\nGern, é."}));
}

// A conversation without a generation prompt ends with an additional token (Phi-3).
TEST_F(Thinking, ATokenAfterTheWholeConversation) {
  const char* phi =
      "{% for m in messages %}{{ '[' + m.role + '|' + m.content + '<|eot_id|>\n' }}{% endfor %}"
      "{% if add_generation_prompt %}{{ '[assistant|' }}{% else %}<|end_of_text|>{% endif %}";
  const Json talk{{{"role", "user"}, {"content", "a > b"}},
                  {{"role", "assistant"}, {"content", "yes"}},
                  {{"role", "user"}, {"content", "c"}},
                  {{"role", "assistant"}, {"content", "no"}}};
  EXPECT_EQ(supervised(phi, talk), (Texts{"yes<|eot_id|>\n", "no<|eot_id|>\n<|end_of_text|>"}));
}

TEST_F(Thinking, AnUncertainTurnIsAnError) {
  // The answer is written twice, before and after the question.
  const char* twice =
      "{% for m in messages %}{% if m.role == 'assistant' %}{{ '<A>' + m.content + '<|eot_id|>' }}{% else %}{{ '<U>' + m.content }}"
      "{% endif %}{{ messages|length if not loop.last }}{% endfor %}{% if add_generation_prompt %}<A>{% endif %}";
  test::expect_error(ErrorKind::kModel, {"f.jsonl:7", "messages[1]", "do not agree", "last_turn"}, [&] {
    supervised(twice, agent({{"x", 1}}));
  });
}

}  // namespace
}  // namespace lora::data
