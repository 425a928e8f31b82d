#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "process.h"
#include "support/paths.h"

namespace lora::test {

inline constexpr const char* kTemplate =
    "{% for m in messages %}<|start_header_id|>{{ m.role }}\n{{ m.content }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant\n{% endif %}";

inline constexpr const char* kRows =
    R"({"messages": [{"role": "user", "content": "the river"}, {"role": "assistant", "content": "is wide"}]})"
    "\n"
    R"({"messages": [{"role": "system", "content": "short"}, {"role": "user", "content": "a"}, {"role": "assistant", "content": "b c"},)"
    R"( {"role": "user", "content": "d"}, {"role": "assistant", "content": "e"}]})"
    "\n";

/// A small model with a tokenizer that has special tokens and its own chat template, and rows of conversations.
class ChatModel : public testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directories(scratch_ / "shape");
    write_text(scratch_ / "shape/config.json",
               R"({"model_type": "llama", "vocab_size": 640, "hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 2,
                   "num_attention_heads": 4, "max_position_embeddings": 512, "initializer_range": 0.3, "torch_dtype": "float32"})");
    std::filesystem::copy(std::filesystem::path(lora::test::data_folder()) / "tokenizer_json/llama3.json",
                          scratch_ / "shape/tokenizer.json");
    write_text(scratch_ / "shape/tokenizer_config.json", Json{{"eos_token", "<|eot_id|>"}, {"chat_template", kTemplate}}.dump());
    write_text(scratch_ / "text.jsonl", "{\"text\": \"the river\"}\n");
    write_text(scratch_ / "rows.jsonl", kRows);
    write_text(scratch_ / "pretrain.json",
               R"({"model": {"path": "shape", "from_scratch": true, "device": "cpu"}, "adapter": null, "output_dir": "model",
                   "data": {"train": [{"path": "text.jsonl", "format": "text"}]}, "training": {"max_steps": 1, "learning_rate": 1e-5}})");
    const Outcome made = lora_train({"--config", (scratch_ / "pretrain.json").string()});
    ASSERT_EQ(made.exit_code, 0) << made.err;
    for (const char* name : {"tokenizer.json", "tokenizer_config.json"}) {
      std::filesystem::copy(scratch_ / "shape" / name, scratch_ / "model" / name, std::filesystem::copy_options::overwrite_existing);
    }
  }

  std::string path(const std::string& name) const { return (scratch_ / name).string(); }

  Outcome train(const std::string& rows, const std::string& format, const std::string& output, const Arguments& more = {}) const {
    const Json config{{"model", {{"path", "model"}, {"device", "cpu"}}},
                      {"adapter", {{"r", 4}, {"target_modules", "all-linear"}}},
                      {"data", {{"train", {{{"path", rows}, {"format", format}}}}}},
                      {"training", {{"max_steps", 4}, {"learning_rate", 1e-2}, {"logging_steps", 1}, {"save_steps", 0}}},
                      {"output_dir", output}};
    write_text(scratch_ / (output + ".json"), config.dump());
    Arguments all{"--config", path(output + ".json")};
    all.insert(all.end(), more.begin(), more.end());
    return lora_train(all);
  }
  std::vector<double> losses(const std::string& output) const {
    std::vector<double> result;
    for (const Json& row : read_rows(scratch_ / output / "metrics.jsonl")) {
      if (row.contains("loss")) {
        result.push_back(row["loss"]);
      }
    }
    return result;
  }
  std::vector<Json> tokenize(const Arguments& more = {}) const {
    Arguments all{"lora-tokenize", "--model", path("model"), "--input", path("rows.jsonl"), "--output", path("ids.jsonl")};
    all.insert(all.end(), more.begin(), more.end());
    const Outcome outcome = run_tool(all);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return outcome.exit_code == 0 ? read_rows(scratch_ / "ids.jsonl") : std::vector<Json>();
  }
  Outcome generate(const Arguments& more, const std::string& input = "") const {
    Arguments all{"lora-generate", "--model", path("model"), "--device", "cpu"};
    all.insert(all.end(), more.begin(), more.end());
    if (std::find(more.begin(), more.end(), "--max-new-tokens") == more.end()) {
      all.insert(all.end(), {"--max-new-tokens", "8"});
    }
    return run_tool(all, input);
  }
  /// The model's completion of ids.
  std::string completion(const Json& ids) const {
    write_text(scratch_ / "prompt.jsonl", Json{{"input_ids", ids}}.dump() + "\n");
    const Outcome outcome = generate({"--prompts", path("prompt.jsonl")});
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return Json::parse(outcome.out)["completion"];
  }

  TemporaryFolder scratch_;
};

}  // namespace lora::test
