// Invalid input: the exit code, the single line of the error, and no partial output.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "process.h"

namespace lora::test {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

class Errors : public ::testing::Test {
 protected:
  void SetUp() override { config_ = copy_case("gqa", scratch_); }

  fs::path file(const std::string& name) const { return scratch_ / ("gqa/" + name); }

  /// Runs with these --set flags and expects this exit code and no result.
  void expect_error(int exit_code, const std::vector<std::string>& parts, const std::vector<std::string>& overrides = {}) {
    std::vector<std::string> arguments{"--config", config_.string()};
    for (const std::string& item : overrides) {
      arguments.insert(arguments.end(), {"--set", item});
    }
    const Outcome outcome = lora_train(arguments);
    EXPECT_EQ(outcome.exit_code, exit_code) << outcome.err;
    for (const std::string& part : parts) {
      EXPECT_THAT(outcome.err, HasSubstr(part));
    }
    EXPECT_EQ(outcome.err.find("c10"), std::string::npos) << outcome.err;
    EXPECT_FALSE(fs::exists(file("out/adapter_model.safetensors")));
  }

  TemporaryFolder scratch_;
  fs::path config_;
};

TEST_F(Errors, UsageAndConfig) {
  EXPECT_EQ(lora_train({}).exit_code, 2);
  EXPECT_EQ(lora_train({"--confg", "x"}).exit_code, 2);
  EXPECT_EQ(lora_train({"--help"}).exit_code, 0);
  const Outcome version = lora_train({"--version"});
  EXPECT_EQ(version.exit_code, 0);
  EXPECT_THAT(version.out, HasSubstr("lora-train"));
  EXPECT_EQ(lora_train({"--config", "/nonexistent/x.json"}).exit_code, 2);
  expect_error(2, {"training.lerning_rate", "learning_rate"}, {"training.lerning_rate=1"});
  expect_error(2, {"adapter.r", "data.max_length"}, {"adapter.r=0", "data.max_length=\"long\""});
  expect_error(2, {"adapter.target_modules", "q_prj", "o_proj"}, {"adapter.target_modules=[\"q_prj\"]"});
  write_text(config_, "{\"model\": {\n  \"path\": }");
  expect_error(2, {"run.json:2:"});
}

TEST_F(Errors, CudaOnlySettingsAreRefusedOnTheCpu) {
  expect_error(2, {"[training.gradient_checkpointing] found \"offload\" on cpu"}, {"training.gradient_checkpointing=offload"});
  expect_error(2, {"[training.cuda_graphs]", "on cpu"}, {"training.cuda_graphs=true"});
  expect_error(2, {"[training.cuda_graphs] found true with training.gradient_checkpointing \"offload\""},
               {"training.cuda_graphs=true", "training.gradient_checkpointing=offload"});
  expect_error(2, {"[training.cuda_graphs] found true with adapter.use_dora"},
               {"training.cuda_graphs=true", "adapter.use_dora=true", "adapter.init_from=null", "adapter.target_modules=[\"q_proj\"]"});
}

TEST_F(Errors, PrintConfigParsesToItself) {
  const Outcome printed = lora_train({"--config", config_.string(), "--print-config"});
  ASSERT_EQ(printed.exit_code, 0) << printed.err;
  write_text(file("again.json"), printed.out);
  EXPECT_EQ(lora_train({"--config", file("again.json").string(), "--print-config"}).out, printed.out);
  const Outcome schema = lora_train({"--print-schema"});
  ASSERT_EQ(schema.exit_code, 0);
  EXPECT_TRUE(Json::parse(schema.out)["properties"].contains("adapter"));
}

TEST_F(Errors, Model) {
  const std::string config_text = read_text(file("model/config.json"));
  write_text(file("model/config.json"), "{}");
  expect_error(4, {"config.json", "model_type"});
  Json config = Json::parse(config_text);
  config["model_type"] = "lama";
  write_text(file("model/config.json"), config.dump());
  expect_error(4, {"lama", "llama"});
  config["model_type"] = "llama";
  config.erase("hidden_size");
  write_text(file("model/config.json"), config.dump());
  expect_error(4, {"hidden_size"});
  config["hidden_size"] = 52;
  write_text(file("model/config.json"), config.dump());
  expect_error(4, {"model.embed_tokens.weight", "52"});
  write_text(file("model/config.json"), config_text);

  const std::string weights = read_text(file("model/model.safetensors"));
  write_text(file("model/model.safetensors"), weights.substr(0, weights.size() / 2));
  expect_error(4, {"model.safetensors"});
  std::string poisoned = weights;
  poisoned.replace(poisoned.size() - 4, 4, std::string("\x00\x00\xc0\x7f", 4));
  write_text(file("model/model.safetensors"), poisoned);
  expect_error(4, {"not finite"});
  fs::remove(file("model/model.safetensors"));
  write_text(file("model/model.safetensors.index.json"), R"({"weight_map": {"lm_head.weight": "../../secret.safetensors"}})");
  expect_error(4, {"index.json", "../../secret.safetensors"});
  fs::remove(file("model/model.safetensors.index.json"));
  write_text(file("model/pytorch_model.bin"), "x");
  expect_error(4, {"pytorch_model.bin", "safetensors"});
  expect_error(4, {"nowhere"}, {"model.path=nowhere"});
}

TEST_F(Errors, Adapter) {
  std::string poisoned = read_text(file("adapter/adapter_model.safetensors"));
  poisoned.replace(poisoned.size() - 4, 4, std::string("\x00\x00\xc0\x7f", 4));
  write_text(file("adapter/adapter_model.safetensors"), poisoned);
  expect_error(4, {"adapter_model.safetensors", "not finite"});
  write_text(file("adapter/adapter_model.safetensors"), "damaged");
  expect_error(4, {"adapter_model.safetensors"});
  fs::remove(file("adapter/adapter_model.safetensors"));
  expect_error(4, {"adapter_model.safetensors"});
  fs::remove_all(file("adapter"));
  expect_error(4, {"[adapter.init_from]", "does not exist"});
}

TEST_F(Errors, Data) {
  write_text(file("rows.jsonl"), "{\"input_ids\": [1, 2, 3]}\n{\"input_ids\": [1, 2,}\n");
  expect_error(3, {"rows.jsonl:2:"});
  write_text(file("rows.jsonl"), "{\"input_ids\": [1, 2, 100000]}\n");
  expect_error(3, {"rows.jsonl:1", "100000"});
  write_text(file("rows.jsonl"), "{\"input_ids\": [1, 2, 3], \"labels\": [-100, -100, -100]}\n");
  expect_error(3, {"rows.jsonl"});
  write_text(file("rows.jsonl"), "{\"text\": \"\xff\"}\n");
  expect_error(3, {"rows.jsonl:1"});
  write_text(file("rows.jsonl"), "");
  expect_error(3, {"data.train"});
  fs::remove(file("rows.jsonl"));
  expect_error(3, {"rows.jsonl"});
  // Text without a tokenizer in the model's folder.
  write_text(file("rows.jsonl"), "{\"text\": \"a\"}\n");
  expect_error(4, {"tokenizer.model"}, {"data.train.0.format=text"});
}

TEST_F(Errors, ARunThatDivergesWritesNoResult) {
  expect_error(
      5, {"not finite"},
      {"training.learning_rate=1e38", "training.max_grad_norm=0", "training.lr_scheduler_type=constant", "training.warmup_steps=0"});
  EXPECT_FALSE(fs::exists(file("out/adapter_config.json")));
  EXPECT_EQ(Json::parse(read_text(file("out/run.json")))["status"], "diverged");
}

TEST_F(Errors, Output) {
  write_text(file("plain"), "x");
  expect_error(6, {"plain"}, {"output_dir=plain"});
  expect_error(6, {"plain"}, {"output_dir=plain/below"});
  EXPECT_EQ(read_text(file("plain")), "x");
  const Outcome dry = lora_train({"--config", config_.string(), "--dry-run", "--set", "output_dir=plain/below"});
  EXPECT_EQ(dry.exit_code, 6) << dry.err;
}

TEST_F(Errors, RowsFromStandardInput) {
  const std::string rows = read_text(file("rows.jsonl"));
  const std::vector<std::string> arguments{"--config", config_.string(), "--set", "data.train.0.path=-", "--set", "training.max_steps=1"};
  const Outcome outcome = lora_train(arguments, rows);
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
}

}  // namespace
}  // namespace lora::test
