// prompt_completion rows whose prompt and completion are messages have the ids and labels of TRL's SFTTrainer
// (scripts/golden/trl_messages.py); also instruction rows with earlier turns, and training rows as prompts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ids.h"
#include "lora/base/file.h"
#include "lora/base/json.h"
#include "lora/data/dataset.h"
#include "lora/data/prompts.h"
#include "lora/nn/batch.h"
#include "support/expect_error.h"
#include "support/golden_time.h"
#include "support/paths.h"
#include "support/temporary_folder.h"

namespace lora::data {
namespace {

namespace fs = std::filesystem;
using test::Ids;
using test::kData;
using testing::HasSubstr;

constexpr const char* kPairTemplate =
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}<|eot_id|>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";

class MessagePairs : public testing::Test {
 protected:
  MessagePairs() {
    fs::copy_file(kData / "tokenizer_json/llama3.json", folder_ / "tokenizer.json");
    folder_.write("tokenizer_config.json", golden_["settings"].dump());
    tokenizer_ = tokenizer::load_tokenizer(folder_.path());
  }

  tokenizer::ChatTemplate chat_template(const std::string& source) const {
    return {"t", source, tokenizer_->named_tokens(), "", test::kGoldenTime};
  }

  Dataset load(const std::string& rows, RowFormat format, const tokenizer::ChatTemplate* chat_template, const DataOptions& options = {},
               const char* file = "rows.jsonl") {
    LoadContext context{tokenizer_.get(), tokenizer_->vocab_size()};
    context.chat_template = context.instruction_template = chat_template;
    SourceOptions source;
    source.path = folder_.write(file, rows);
    source.format = format;
    return load_dataset("data.train", {source}, options, context);
  }

  std::string trained_text(const Example& example) const {
    Ids ids;
    for (const int32_t label : example.labels()) {
      if (label != nn::kIgnoreLabel) {
        ids.push_back(label);
      }
    }
    return tokenizer_->decode(ids, true);
  }

  test::TemporaryFolder folder_;
  Json golden_ = read_json(kData / "chat/trl_messages.json", ErrorKind::kData);
  std::unique_ptr<tokenizer::Tokenizer> tokenizer_;
};

TEST_F(MessagePairs, IdsAndLossMaskEqualTrl) {
  ASSERT_EQ(golden_["cases"].size(), 10U);
  for (const Json& each : golden_["cases"]) {
    const auto name = each["template"].get<std::string>();
    SCOPED_TRACE(name);
    const bool is_own = golden_["templates"].contains(name);
    const auto chat = chat_template(is_own ? golden_["templates"][name].get<std::string>()
                                           : read_file(kData / "chat/templates" / (name + ".jinja"), ErrorKind::kData));
    std::string rows;
    for (const Json& row : each["rows"]) {
      rows += row["row"].dump() + "\n";
    }
    DataOptions options;
    options.cache_dir = folder_ / "cache";
    testing::internal::CaptureStderr();
    const Dataset dataset = load(rows, RowFormat::kPromptCompletion, &chat, options);
    const std::string errors = testing::internal::GetCapturedStderr();
    if (name == "thinking") {
      EXPECT_THAT(errors, HasSubstr("rows.jsonl:1] the prompt is written differently when the completion follows it"));
      EXPECT_THAT(errors, HasSubstr("'<think></think>'"));
    }
    ASSERT_EQ(dataset.examples.size(), each["rows"].size());
    EXPECT_EQ(dataset.report.message_pairs, static_cast<int64_t>(each["rows"].size()));
    EXPECT_TRUE(dataset.report.unused_columns.empty());
    for (size_t i = 0; i < dataset.examples.size(); ++i) {
      EXPECT_EQ(dataset.examples[i].ids(), each["rows"][i]["ids"].get<Ids>()) << each["rows"][i]["row"];
      EXPECT_EQ(dataset.examples[i].labels(), each["rows"][i]["labels"].get<Ids>()) << each["rows"][i]["row"];
    }
    EXPECT_EQ(load(rows, RowFormat::kPromptCompletion, &chat, options).report.message_pairs, dataset.report.message_pairs);  // cached
    options.train_on = TrainOn::kAll;
    const Dataset all = load(rows, RowFormat::kPromptCompletion, &chat, options);
    EXPECT_EQ(all.examples[0].labels(), dataset.examples[0].ids());
  }
}

TEST_F(MessagePairs, RowsSayWhatIsTrainedOn) {
  const auto chat = chat_template(kPairTemplate);
  const auto text = [&](const std::string& completion, const std::string& more = "") {
    const std::string row = R"({"prompt": [{"from": "human", "value": "hi"}], "completion": )" + completion + more + "}";
    return trained_text(load(row, RowFormat::kPromptCompletion, &chat).examples.at(0));
  };
  EXPECT_EQ(text(R"([{"from": "gpt", "value": "yo"}])"), "yo<|eot_id|>");
  EXPECT_EQ(text(R"([{"role": "assistant", "content": "yo", "weight": 0}, {"role": "user", "content": "a"},)"
                 R"( {"role": "assistant", "content": "b"}])"),
            "<user>a<|eot_id|><assistant>b<|eot_id|>");
  EXPECT_EQ(text(R"([{"role": "assistant", "content": "yo"}])", R"(, "system": "short", "weight": 1)"), "yo<|eot_id|>");
  // The columns for messages are not used in a row of texts.
  const Dataset texts = load(R"({"prompt": "[{}]", "completion": "b", "tools": [], "weight": 0})", RowFormat::kPromptCompletion, &chat);
  EXPECT_EQ(texts.report.message_pairs, 0);
  EXPECT_THAT(texts.report.unused_columns.at(0), testing::EndsWith("rows.jsonl: tools, weight"));
  EXPECT_EQ(trained_text(texts.examples.at(0)), "b<|eot_id|>");
  const Dataset cells = load("prompt,completion\n\"[{\"\"role\"\": \"\"user\"\"}]\",b\n", RowFormat::kPromptCompletion, &chat, {}, "x.csv");
  EXPECT_EQ(cells.report.message_pairs, 0);
}

TEST_F(MessagePairs, FaultyRowsNameTheField) {
  const auto chat = chat_template(kPairTemplate);
  const auto refuse = [&](const std::string& row, std::vector<std::string> parts, const tokenizer::ChatTemplate* by) {
    parts.insert(parts.begin(), "rows.jsonl:1");
    test::expect_error(ErrorKind::kData, parts, [&] { load(row, RowFormat::kPromptCompletion, by); });
  };
  const std::string prompt = R"({"prompt": [{"role": "user", "content": "a"}], "completion": )";
  refuse(prompt + "\"b\"}", {"\"completion\"", "a string (\"b\")", "both be texts or both be messages"}, &chat);
  refuse(prompt + "[]}", {"\"completion\"", "at least one"}, &chat);
  refuse(prompt + "[7]}", {"completion[0]: found 7", "an object with a string \"role\""}, &chat);
  refuse(prompt + R"([{"role": "critic", "content": "b"}]})", {"completion[0]: the role is unknown: found \"critic\""}, &chat);
  refuse(prompt + R"([{"role": "tool", "content": "b", "weight": 0}, {"role": "assistant", "content": "c"}]})",
         {"\"completion\"", "excludes a turn of the role \"tool\"", "a turn of the assistant"}, &chat);
  refuse(R"({"prompt": "a", "completion": [{"role": "assistant", "content": "b"}]})", {"\"prompt\"", "a string (\"a\")"}, &chat);
  refuse(prompt + R"([{"role": "assistant", "content": "b"}]})", {"\"prompt\"", "need a chat template", "data.chat_template"}, nullptr);
}

TEST_F(MessagePairs, EarlierTurnsOfInstructionRows) {
  const auto chat = chat_template(kPairTemplate);
  const std::string row = R"({"system": "short", "history": [["a", "b"], ["c", "d"]], "instruction": "e", "input": "f", "output": "g"})";
  const auto trained = [&](TrainOn train_on, const std::string& line) {
    DataOptions options;
    options.train_on = train_on;
    const Dataset dataset = load(line, RowFormat::kInstruction, &chat, options);
    EXPECT_TRUE(dataset.report.unused_columns.empty());
    return trained_text(dataset.examples.at(0));
  };
  const std::string all =
      "<system>short<|eot_id|><user>a<|eot_id|><assistant>b<|eot_id|><user>c<|eot_id|><assistant>d<|eot_id|><user>e\nf<|eot_id|>"
      "<assistant>g<|eot_id|>";
  EXPECT_EQ(trained(TrainOn::kAll, row), all);
  EXPECT_EQ(trained(TrainOn::kCompletion, row), "b<|eot_id|>d<|eot_id|>g<|eot_id|>");
  EXPECT_EQ(trained(TrainOn::kLastTurn, row), "g<|eot_id|>");
  const std::string none = R"({"system": "", "history": [], "instruction": "e", "output": "g"})";
  EXPECT_EQ(trained(TrainOn::kAll, none), "<user>e<|eot_id|><assistant>g<|eot_id|>");
  EXPECT_EQ(trained(TrainOn::kAll, R"({"history": "[[\"a\", \"b\"]]", "instruction": "e", "output": "g"})"),
            "<user>a<|eot_id|><assistant>b<|eot_id|><user>e<|eot_id|><assistant>g<|eot_id|>");

  const auto refuse = [&](const std::string& line, const std::vector<std::string>& parts, const tokenizer::ChatTemplate* by) {
    test::expect_error(ErrorKind::kData, parts, [&] { load(line, RowFormat::kInstruction, by); });
  };
  for (const char* history : {R"("a")", R"([["a"]])", R"([["a", 7]])", R"([{"a": "b"}])"}) {
    refuse(std::string(R"({"instruction": "e", "output": "g", "history": )") + history + "}", {"rows.jsonl:1", "history"}, &chat);
  }
  // The Alpaca prompt has one turn and no system text.
  refuse(row, {"rows.jsonl:1", "\"history\"", "data.chat_template", "--chat-template"}, nullptr);
  refuse(R"({"system": "short", "instruction": "e", "output": "g"})", {"\"system\"", "data.chat_template"}, nullptr);
  DataOptions last_turn;
  last_turn.train_on = TrainOn::kLastTurn;
  EXPECT_EQ(trained_text(load(none, RowFormat::kInstruction, nullptr, last_turn).examples.at(0)), "g<|eot_id|>");
}

TEST_F(MessagePairs, RowsOfTrainingAsPrompts) {
  const auto chat = chat_template(kPairTemplate);
  const ChatEncoder encoder(chat, *tokenizer_);
  const auto load_rows = [&](const std::string& rows, const ChatEncoder* instructions) {
    PromptContext context;
    context.vocab_size = tokenizer_->vocab_size();
    context.tokenizer = [&]() -> const tokenizer::Tokenizer& { return *tokenizer_; };
    context.chat = [&](const std::optional<std::string>&) -> const ChatEncoder& { return encoder; };
    context.instruction_chat = [&](const std::optional<std::string>&) { return instructions; };
    return load_prompts(folder_.write("p.jsonl", rows), context);
  };
  const auto text_of = [&](const std::string& row, const ChatEncoder* instructions = nullptr) {
    return tokenizer_->decode(load_rows(row, instructions).at(0).ids, true);
  };
  const std::string instruction = R"({"instruction": "e", "input": "f", "output": "g", "text": "all of it")";
  EXPECT_EQ(text_of(instruction + "}"), "<|begin_of_text|>" + instruction_prompt("e", "f"));
  EXPECT_EQ(text_of(instruction + "}", &encoder), "<user>e\nf<|eot_id|><assistant>");
  EXPECT_EQ(text_of(instruction + R"(, "system": "s", "history": [["a", "b"]]})", &encoder),
            "<system>s<|eot_id|><user>a<|eot_id|><assistant>b<|eot_id|><user>e\nf<|eot_id|><assistant>");
  test::expect_error(ErrorKind::kData, {"p.jsonl:1", "\"system\"", "--chat-template"},
                     [&] { text_of(instruction + R"(, "system": "s"})"); });
  EXPECT_EQ(text_of(R"({"text": "hi"})"), "<|begin_of_text|>hi");
  EXPECT_EQ(text_of(R"({"prompt": "hi", "text": "other", "completion": "x"})"), "<|begin_of_text|>hi");
  EXPECT_EQ(text_of(R"({"prompt": [{"role": "user", "content": "hi"}], "completion": [{"role": "assistant", "content": "yo"}]})"),
            "<user>hi<|eot_id|><assistant>");

  const auto rows = load_rows(instruction + "}\n" + R"({"text": "hi", "id": 3})" + "\n", &encoder);
  EXPECT_TRUE(rows[0].is_talk);
  EXPECT_EQ(rows[0].given.dump(), R"({"instruction":"e","input":"f"})");
  EXPECT_FALSE(rows[1].is_talk);
  EXPECT_EQ(rows[1].given.dump(), R"({"text":"hi"})");
  // The prompt is the beginning of the training row.
  const Dataset trained = load(instruction + "}", RowFormat::kInstruction, &chat);
  const Ids& whole = trained.examples.at(0).ids();
  EXPECT_TRUE(std::equal(rows[0].ids.begin(), rows[0].ids.end(), whole.begin()));
}

}  // namespace
}  // namespace lora::data
