// Every format of rows in every program: all read what lora-train reads.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "process.h"
#include "support/paths.h"

namespace lora::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr const char* kStyledTemplate =
    "{% if style is defined %}[{{ style }}]{% endif %}{% for m in messages %}<{{ m.role }}>{{ m.content }}"
    "{% for c in m.tool_calls or [] %}{{ c.function | tojson }}{% endfor %}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}";

struct Form {
  const char* format;
  const char* row;
};

const std::vector<Form>& forms() {
  static const std::vector<Form> kForms{
      {"tokens", R"({"input_ids": [5, 6, 7, 8]})"},
      {"tokens", R"({"input_ids": [5, 6, 7, 8], "labels": [-100, -100, 7, 8]})"},
      {"tokens", R"({"input_ids": [5, 6, 7, 8], "completion_mask": [0, 0, 1, 1], "extra": NaN})"},
      {"tokens", R"({"input_ids": [5, 6, 7, 8], "assistant_masks": [0, 0, 0, 1]})"},
      {"tokens", R"({"input_ids": [5, 6, 7, 8, 0, 0], "attention_mask": [1, 1, 1, 1, 0, 0]})"},
      {"tokens", R"({"input_ids": [5, 6, 7, 8, 9], "seq_lengths": [2, 3], "position_ids": [0, 1, 0, 1, 2]})"},
      {"text", R"({"text": "the river", "note": Infinity})"},
      {"prompt_completion", R"({"prompt": "the ", "completion": "river"})"},
      {"instruction", R"({"instruction": "say", "input": "a", "output": "b"})"},
      {"messages", R"({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]})"},
      {"messages", R"({"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}], "system": "s"})"},
      {"messages", R"({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "weight": 0},)"
                   R"( {"role": "assistant", "content": "c"}], "chat_template_kwargs": {"style": "x"}, "tools": "[{\"name\": \"f\"}]"})"},
      {"messages", R"({"messages": [{"role": "user", "content": "a"}, {"role": "function_call", "content": )"
                   R"("{\"name\": \"f\", \"arguments\": {\"id\": 123456789012345678901}}"}]})"},
  };
  return kForms;
}

class Rows : public testing::Test {
 protected:
  void SetUp() override {
    fs::create_directories(scratch_ / "shape");
    write_text(scratch_ / "shape/config.json",
               R"({"model_type": "llama", "vocab_size": 640, "hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 2,
                   "num_attention_heads": 4, "max_position_embeddings": 512, "initializer_range": 0.3, "torch_dtype": "float32"})");
    fs::copy(fs::path(lora::test::data_folder()) / "tokenizer_json/llama3.json", scratch_ / "shape/tokenizer.json");
    write_text(scratch_ / "shape/tokenizer_config.json", Json{{"eos_token", "<|eot_id|>"}, {"chat_template", kStyledTemplate}}.dump());
    write_text(scratch_ / "text.jsonl", "{\"text\": \"the river\"}\n");
    write_text(scratch_ / "pretrain.json",
               R"({"model": {"path": "shape", "from_scratch": true, "device": "cpu"}, "adapter": null, "output_dir": "model",
                   "data": {"train": [{"path": "text.jsonl", "format": "text"}]}, "training": {"max_steps": 1, "learning_rate": 1e-5}})");
    const Outcome made = lora_train({"--config", path("pretrain.json")});
    ASSERT_EQ(made.exit_code, 0) << made.err;
    for (const char* name : {"tokenizer.json", "tokenizer_config.json"}) {
      fs::copy(scratch_ / "shape" / name, scratch_ / "model" / name, fs::copy_options::overwrite_existing);
    }
  }

  std::string path(const std::string& name) const { return (scratch_ / name).string(); }

  void write_config(const std::vector<Form>& used) const {
    Json sources = Json::array();
    for (size_t i = 0; i < used.size(); ++i) {
      const std::string name = "rows" + std::to_string(i) + ".jsonl";
      write_text(scratch_ / name, std::string(used[i].row) + "\n");
      sources.push_back({{"path", name}, {"format", used[i].format}});
    }
    write_text(scratch_ / "run.json", Json{{"model", {{"path", "model"}, {"device", "cpu"}}},
                                           {"adapter", {{"r", 2}, {"target_modules", {"q_proj"}}}},
                                           {"data", {{"train", sources}, {"shuffle", false}}},
                                           {"training", {{"num_train_epochs", 1}, {"learning_rate", 1e-9}}},
                                           {"output_dir", "run"}}
                                          .dump());
  }

  TemporaryFolder scratch_;
};

TEST_F(Rows, EveryProgramReadsEveryForm) {
  write_config(forms());
  const Outcome dry = lora_train({"--config", path("run.json"), "--dry-run"});
  ASSERT_EQ(dry.exit_code, 0) << dry.err;
  EXPECT_THAT(dry.err, HasSubstr("columns not used: " + path("rows2.jsonl") + ": extra"));
  EXPECT_THAT(dry.err, HasSubstr("columns not used: " + path("rows6.jsonl") + ": note"));
  int64_t supervised_by_eval = 0;
  for (size_t i = 0; i < forms().size(); ++i) {
    const Form& form = forms()[i];
    SCOPED_TRACE(form.row);
    const std::string rows = path("rows" + std::to_string(i) + ".jsonl");
    const Outcome evaluated =
        run_tool({"lora-eval", "--model", path("model"), "--device", "cpu", "--data", rows, "--format", form.format, "--json"});
    ASSERT_EQ(evaluated.exit_code, 0) << evaluated.err;
    const int64_t num_tokens = Json::parse(evaluated.out)["num_tokens"];
    supervised_by_eval += num_tokens;
    const Outcome tokenized = run_tool({"lora-tokenize", "--model", path("model"), "--input", rows, "--output", path("ids.jsonl")});
    ASSERT_EQ(tokenized.exit_code, 0) << tokenized.err;
    // Rows that lora-tokenize writes train like the original; it adds no EOS to texts.
    const Outcome again =
        run_tool({"lora-eval", "--model", path("model"), "--device", "cpu", "--data", path("ids.jsonl"), "--format", "tokens", "--json"});
    ASSERT_EQ(again.exit_code, 0) << again.err;
    if (form.format != std::string("text")) {
      EXPECT_EQ(Json::parse(again.out)["num_tokens"], num_tokens);
      EXPECT_EQ(Json::parse(again.out)["loss"], Json::parse(evaluated.out)["loss"]);
    }
    const std::string prompt = form.format == std::string("messages") ? form.row : std::string(R"({"input_ids": [5, 6]})");
    write_text(scratch_ / "prompts.jsonl", prompt + "\n");
    const Outcome generated = run_tool(
        {"lora-generate", "--model", path("model"), "--device", "cpu", "--prompts", path("prompts.jsonl"), "--max-new-tokens", "1"});
    EXPECT_EQ(generated.exit_code, 0) << generated.err;
  }
  const Outcome trained = lora_train({"--config", path("run.json")});
  ASSERT_EQ(trained.exit_code, 0) << trained.err;
  int64_t supervised_by_train = 0;
  for (const Json& row : read_rows(scratch_ / "run/metrics.jsonl")) {
    supervised_by_train += row.value("num_tokens", int64_t{0});
  }
  EXPECT_EQ(supervised_by_train, supervised_by_eval);
}

TEST_F(Rows, EveryProgramRefusesTheSameRows) {
  const std::vector<std::pair<Form, std::string>> refused{
      {{"messages", R"({"messages": [{"role": "critic", "content": "a"}]})"}, "found \"critic\""},
      {{"messages", R"({"messages": [{"role": "assistant", "content": "a", "weight": 0.5}]})"}, "messages[0].weight: found 0.5"},
      {{"messages", R"({"messages": [{"role": "user", "content": "a"}], "chat_template_kwargs": 7})"}, "chat_template_kwargs"},
      {{"messages", R"({"messages": [{"role": "user", "content": "a"}], "images": ["b.png"]})"}, "\"images\""},
      {{"tokens", R"({"input_ids": [5, 6], "completion_mask": [1]})"}, "completion_mask"},
      {{"tokens", R"({"input_ids": [5, 6], "position_ids": [3, 9]})"}, "position_ids"},
  };
  for (const auto& [form, part] : refused) {
    SCOPED_TRACE(form.row);
    write_config({form});
    const std::string rows = path("rows0.jsonl");
    for (const Outcome& outcome :
         {lora_train({"--config", path("run.json"), "--dry-run"}),
          run_tool({"lora-eval", "--model", path("model"), "--device", "cpu", "--data", rows, "--format", form.format}),
          run_tool({"lora-tokenize", "--model", path("model"), "--input", rows, "--output", path("ids.jsonl")})}) {
      EXPECT_EQ(outcome.exit_code, 3) << outcome.err;
      EXPECT_THAT(outcome.err, HasSubstr("rows0.jsonl:1"));
      EXPECT_THAT(outcome.err, HasSubstr(part));
    }
  }
}

// Files as Python programs write them.
TEST_F(Rows, ArraysUnderOtherNames) {
  write_config({forms()[6]});
  for (const char* content : {"[\n {\"text\": \"a\"},\n {\"text\": \"b\"}\n]\n", "{\n \"text\": \"a\"\n}\n{\n \"text\": \"b\"\n}\n"}) {
    write_text(scratch_ / "rows0.jsonl", content);
    const Outcome dry = lora_train({"--config", path("run.json"), "--dry-run"});
    ASSERT_EQ(dry.exit_code, 0) << dry.err;
    EXPECT_THAT(dry.err, HasSubstr("2 documents"));
  }
  write_text(scratch_ / "data.json", "{\"data\": [{\"text\": \"a\"}, {\"text\": \"b\"}]}");
  const Outcome below =
      lora_train({"--config", path("run.json"), "--dry-run", "--set", R"(data.train=[{"path": "data.json", "format": "text"}])"});
  ASSERT_EQ(below.exit_code, 0) << below.err;
  EXPECT_THAT(below.err, HasSubstr("under the key \"data\""));
  EXPECT_THAT(below.err, HasSubstr("2 documents"));
}

}  // namespace
}  // namespace lora::test
