// Model folders that differ from those of transformers, and paths that are not models: every program treats them the same.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "process.h"
#include "support/paths.h"
#include "tensor_file.h"

namespace lora::test {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

using Tensors = std::map<std::string, StoredTensor>;

const fs::path kOdd = fs::path(lora::test::data_folder()) / "odd_folders";

/// Writes tensors as one safetensors file.
void write_tensors(const fs::path& file, const Tensors& tensors) {
  Json header = Json::object();
  std::string data;
  for (const auto& [name, tensor] : tensors) {
    header[name] = {{"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {data.size(), data.size() + tensor.bytes.size()}}};
    data += tensor.bytes;
  }
  const std::string text = header.dump();
  const uint64_t size = text.size();
  write_text(file, std::string(reinterpret_cast<const char*>(&size), sizeof(size)) + text + data);
}

Tensors renamed(const Tensors& tensors, const std::function<std::string(const std::string&)>& name_of) {
  Tensors result;
  for (const auto& [name, tensor] : tensors) {
    result.emplace(name_of(name), tensor);
  }
  return result;
}

std::string without_prefix(const std::string& name) {
  return name.starts_with("model.") ? name.substr(6) : name;
}

class OddFolders : public testing::Test {
 protected:
  /// A folder with the committed weights, whose config has keys changed.
  fs::path folder(const std::string& name, const Tensors& tensors, const Json& changes = Json::object()) {
    Json config = Json::parse(read_text(kOdd / "base/config.json"));
    config.update(changes);
    fs::create_directories(scratch_ / name);
    write_text(scratch_ / name / "config.json", config.dump());
    write_tensors(scratch_ / name / "model.safetensors", tensors);
    return scratch_ / name;
  }
  /// The loss of the committed rows, and the messages.
  std::pair<double, std::string> loss_of(const fs::path& model) {
    const Outcome outcome =
        run_tool({"lora-eval", "--model", model.string(), "--data", (kOdd / "rows.jsonl").string(), "--format", "tokens", "--json"});
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return {outcome.exit_code == 0 ? Json::parse(outcome.out)["loss"].get<double>() : NAN, outcome.err};
  }
  Tensors body() const {
    Tensors tensors = own_head_;
    tensors.erase("lm_head.weight");
    return tensors;
  }

  TemporaryFolder scratch_;
  const Tensors own_head_ = stored_tensors(kOdd / "base");
};

TEST_F(OddFolders, GiveTheLossesOfTransformers) {
  auto [loss, said] = loss_of(folder("own_head", own_head_));
  EXPECT_NEAR(loss, 5.72260, 1e-5);
  EXPECT_THAT(said, AllOf(HasSubstr("tie_word_embeddings is true, but lm_head.weight differs"), HasSubstr("as in transformers 5")));
  Tensors copy = body();
  copy.emplace("lm_head.weight", copy.at("model.embed_tokens.weight"));
  std::tie(loss, said) = loss_of(folder("copied_head", copy));
  EXPECT_NEAR(loss, 5.80555, 1e-5);
  EXPECT_THAT(said, HasSubstr("is a copy of model.embed_tokens.weight"));

  // Only the body, and names with the prefixes of torch's wrappers.
  std::tie(loss, said) = loss_of(folder("body", renamed(body(), without_prefix)));
  EXPECT_NEAR(loss, 5.80555, 1e-5);
  EXPECT_THAT(said, HasSubstr("lack the prefix 'model.'"));
  for (const char* wrapper : {"module.", "_orig_mod.", "_orig_mod.module."}) {
    std::tie(loss, said) = loss_of(folder("wrapped", renamed(body(), [&](const auto& name) { return wrapper + name; })));
    EXPECT_NEAR(loss, 5.80555, 1e-5) << wrapper;
    EXPECT_THAT(said, HasSubstr("prefixes of torch's wrappers"));
  }

  // rope_scaling added to a config that transformers 5 wrote.
  const Json yarn{{"rope_type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 32}};
  std::tie(loss, said) = loss_of(folder("two_ropes", own_head_, {{"tie_word_embeddings", false}, {"rope_scaling", yarn}}));
  EXPECT_NEAR(loss, 5.71360, 1e-5);
  EXPECT_THAT(said, HasSubstr("rope_scaling is used and rope_parameters ignored"));

  // Leftovers of quantisation, and an unknown key.
  std::tie(loss, said) = loss_of(folder("leftover", body(), {{"quantization_config", {{"quant_method", "bitsandbytes"}}}, {"x_new", 1}}));
  EXPECT_NEAR(loss, 5.80555, 1e-5);
  EXPECT_THAT(said, AllOf(HasSubstr("quantization_config (\"bitsandbytes\")"), HasSubstr("transformers would quantise them"),
                          HasSubstr("a key that this family does not use: x_new")));
  std::tie(loss, said) = loss_of(folder("plain", body()));
  EXPECT_NEAR(loss, 5.80555, 1e-5);
  EXPECT_THAT(said, Not(HasSubstr("warning")));
}

TEST_F(OddFolders, AnIndexMayNameTensorsThatNoFileHolds) {
  const fs::path model = folder("sharded", body());
  fs::rename(model / "model.safetensors", model / "one.safetensors");
  Json index{{"weight_map", Json::object()}};
  for (const auto& [name, tensor] : body()) {
    index["weight_map"][name] = "one.safetensors";
  }
  index["weight_map"]["model.layers.0.self_attn.rotary_emb.inv_freq"] = "one.safetensors";
  write_text(model / "model.safetensors.index.json", index.dump());
  const auto [loss, said] = loss_of(model);
  EXPECT_NEAR(loss, 5.80555, 1e-5);
  EXPECT_THAT(said, HasSubstr("names tensors that no file holds: model.layers.0.self_attn.rotary_emb.inv_freq"));
  index["weight_map"]["lm_head.weight"] = "one.safetensors";  // the family needs it
  write_text(model / "model.safetensors.index.json", index.dump());
  write_text(model / "config.json", [&] {
    Json config = Json::parse(read_text(model / "config.json"));
    config["tie_word_embeddings"] = false;
    return config.dump();
  }());
  const Outcome refused =
      run_tool({"lora-eval", "--model", model.string(), "--data", (kOdd / "rows.jsonl").string(), "--format", "tokens", "--json"});
  EXPECT_EQ(refused.exit_code, 4);
  EXPECT_THAT(refused.err, HasSubstr("lm_head.weight"));
}

/// Trains one step on a folder, merges the result into it, and compares the messages of both and of lora-inspect.
TEST_F(OddFolders, AreTrainedMergedConvertedAndInspectedTheSame) {
  const std::vector<std::pair<std::string, fs::path>> bases{
      {"plain", folder("plain", body())},
      {"body", folder("body", renamed(body(), without_prefix))},
      {"wrapped", folder("wrapped", renamed(body(), [](const auto& name) { return "module." + name; }))}};
  std::vector<double> merged_losses;
  for (const auto& [name, base] : bases) {
    const Json config{{"model", {{"path", base.string()}, {"device", "cpu"}}},
                      {"adapter", {{"r", 2}, {"target_modules", {"q_proj", "down_proj"}}}},
                      {"data", {{"train", {{{"path", (kOdd / "rows.jsonl").string()}, {"format", "tokens"}}}}}},
                      {"training", {{"max_steps", 2}, {"learning_rate", 0.05}}},
                      {"output_dir", (scratch_ / ("run_" + name)).string()}};
    write_text(scratch_ / (name + ".json"), config.dump());
    const Outcome trained = lora_train({"--config", (scratch_ / (name + ".json")).string(), "--quiet"});
    ASSERT_EQ(trained.exit_code, 0) << trained.err;
    const std::string adapter = (scratch_ / ("run_" + name)).string(), output = (scratch_ / ("merged_" + name)).string();
    const Outcome merged = run_tool({"lora-merge", "--model", base.string(), "--adapter", adapter, "--output", output});
    ASSERT_EQ(merged.exit_code, 0) << merged.err;
    merged_losses.push_back(loss_of(output).first);
    for (const auto& [tensor, stored] : stored_tensors(output)) {
      EXPECT_FALSE(tensor.starts_with("module.")) << tensor;
    }
    const Outcome extracted =
        run_tool({"lora-convert", "--extract", "--base", base.string(), "--tuned", (scratch_ / "merged_plain").string(), "--r", "2",
                  "--output", (scratch_ / ("extracted_" + name)).string()});
    ASSERT_EQ(extracted.exit_code, 0) << extracted.err;
    EXPECT_EQ(stored_tensors(scratch_ / ("extracted_" + name)).size(), 4U);  // A and B of two modules
    const Json facts = Json::parse(run_tool({"lora-inspect", base.string(), "--json"}).out);
    EXPECT_EQ(facts["num_parameters"], 6288);
    EXPECT_EQ(facts["hosts"][0]["pattern"], "model.embed_tokens");
    EXPECT_EQ(facts["hosts"][0]["shape"], (Json{270, 16}));
  }
  EXPECT_LT(merged_losses[0], 5.8);
  EXPECT_THAT(merged_losses, testing::Each(merged_losses[0]));
}

TEST_F(OddFolders, AnUntiedHeadStaysUntied) {
  const fs::path base = folder("own_head", own_head_);
  const Json config{{"model", {{"path", base.string()}, {"device", "cpu"}}},
                    {"adapter", nullptr},
                    {"data", {{"train", {{{"path", (kOdd / "rows.jsonl").string()}, {"format", "tokens"}}}}}},
                    {"training", {{"max_steps", 1}, {"learning_rate", 1e-3}}},
                    {"output_dir", (scratch_ / "full").string()}};
  write_text(scratch_ / "full.json", config.dump());
  const Outcome trained = lora_train({"--config", (scratch_ / "full.json").string()});
  ASSERT_EQ(trained.exit_code, 0) << trained.err;
  EXPECT_EQ(Json::parse(read_text(scratch_ / "full/config.json"))["tie_word_embeddings"], false);
  EXPECT_EQ(stored_tensors(scratch_ / "full").count("lm_head.weight"), 1U);
}

TEST_F(OddFolders, AnEncoderWithoutPrefixIsInspectedCompletely) {
  const auto tensor = [](const std::string& dtype, const std::vector<int64_t>& shape) {
    int64_t count = dtype == "I64" ? 8 : 4;
    for (const int64_t size : shape) {
      count *= size;
    }
    return StoredTensor{dtype, shape, std::string(static_cast<size_t>(count), '\0')};
  };
  Tensors tensors{{"embeddings.position_ids", tensor("I64", {1, 12})},
                  {"embeddings.word_embeddings.weight", tensor("F32", {30, 8})},
                  {"embeddings.position_embeddings.weight", tensor("F32", {12, 8})},
                  {"embeddings.token_type_embeddings.weight", tensor("F32", {2, 8})},
                  {"pooler.dense.weight", tensor("F32", {8, 8})}};
  for (const char* norm : {"embeddings.LayerNorm", "encoder.layer.0.attention.output.LayerNorm", "encoder.layer.0.output.LayerNorm"}) {
    tensors.emplace(std::string(norm) + ".weight", tensor("F32", {8}));
    tensors.emplace(std::string(norm) + ".bias", tensor("F32", {8}));
  }
  tensors.emplace("pooler.dense.bias", tensor("F32", {8}));
  for (const char* part : {"attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"}) {
    tensors.emplace(std::string("encoder.layer.0.") + part + ".weight", tensor("F32", {8, 8}));
    tensors.emplace(std::string("encoder.layer.0.") + part + ".bias", tensor("F32", {8}));
  }
  tensors.emplace("encoder.layer.0.intermediate.dense.weight", tensor("F32", {16, 8}));
  tensors.emplace("encoder.layer.0.intermediate.dense.bias", tensor("F32", {16}));
  tensors.emplace("encoder.layer.0.output.dense.weight", tensor("F32", {8, 16}));
  tensors.emplace("encoder.layer.0.output.dense.bias", tensor("F32", {8}));
  const fs::path model = scratch_ / "bert";
  fs::create_directories(model);
  write_tensors(model / "model.safetensors", tensors);
  write_text(model / "config.json",
             R"({"model_type": "bert", "architectures": ["BertModel"], "vocab_size": 30, "hidden_size": 8, "num_hidden_layers": 1,)"
             R"( "num_attention_heads": 2, "intermediate_size": 16, "max_position_embeddings": 12, "type_vocab_size": 2})");
  const Outcome text = run_tool({"lora-inspect", model.string()});
  ASSERT_EQ(text.exit_code, 0) << text.err;
  EXPECT_THAT(text.out, AllOf(Not(HasSubstr("tied")), HasSubstr("1,040 parameters"), HasSubstr("bert.pooler.dense")));
}

TEST_F(OddFolders, ErrorsSayWhyAPathIsNotAModel) {
  const std::string rows = (kOdd / "rows.jsonl").string();
  const auto said_of = [&](const fs::path& model, const std::vector<std::string>& more = {}) {
    std::vector<std::string> command{"lora-eval", "--model", model.string(), "--data", rows, "--format", "tokens"};
    command.insert(command.end(), more.begin(), more.end());
    const Outcome outcome = run_tool(command);
    EXPECT_NE(outcome.exit_code, 0);
    return outcome.err;
  };
  const fs::path base = folder("smollm2-instruct", body());
  EXPECT_THAT(said_of(scratch_ / "smollm2-instuct"),
              AllOf(HasSubstr("[--model] does not exist"), HasSubstr("did you mean 'smollm2-instruct'"), Not(HasSubstr("tokenizer"))));
  EXPECT_THAT(said_of(base / "model.safetensors"), AllOf(HasSubstr("[--model]"), HasSubstr("Use the folder that holds it")));
  write_text(scratch_ / "m.gguf", "GGUF\3");
  EXPECT_THAT(said_of(scratch_ / "m.gguf"), HasSubstr("a GGUF file"));
  fs::create_directories(scratch_ / "run");
  write_text(scratch_ / "run/adapter_config.json", R"({"base_model_name_or_path": "the/base"})");
  EXPECT_THAT(said_of(scratch_ / "run"),
              AllOf(HasSubstr("is an adapter"), HasSubstr("Use --adapter for it, and --model for its base model 'the/base'.")));
  EXPECT_THAT(said_of(base, {"--dtype", "bf16"}), AllOf(HasSubstr("[--dtype]"), HasSubstr("Did you mean 'bfloat16'")));
  fs::create_directories(scratch_ / "empty");
  EXPECT_THAT(said_of(scratch_ / "empty"), HasSubstr("holds no config.json: found an empty folder"));

  const Json config{{"model", {{"path", (scratch_ / "smollm2-instruc").string()}}},
                    {"adapter", {{"r", 2}}},
                    {"data", {{"train", {{{"path", rows}, {"format", "text"}}}}}},
                    {"output_dir", (scratch_ / "out").string()}};
  write_text(scratch_ / "run.json", config.dump());
  const Outcome trained = lora_train({"--config", (scratch_ / "run.json").string()});
  EXPECT_EQ(trained.exit_code, 4);
  EXPECT_THAT(trained.err, AllOf(HasSubstr("[model.path] does not exist"), HasSubstr("did you mean 'smollm2-instruct'")));
}

}  // namespace
}  // namespace lora::test
