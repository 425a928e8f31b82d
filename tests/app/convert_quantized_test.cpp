// lora-convert --quantize: the folders that transformers saves with bitsandbytes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "lora/base/file.h"
#include "process.h"
#include "support/paths.h"
#include "tensor_file.h"

namespace lora::test {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

const fs::path kFolders = kData / "quantized/bitsandbytes_models";

class ConvertQuantized : public testing::Test {
 protected:
  fs::path at(const std::string& name) const { return scratch_ / name; }
  Outcome convert(const fs::path& model, const std::string& type, const std::string& output, const Arguments& more = {}) const {
    return run_tool(with({"lora-convert", "--quantize", type, "--model", model.string(), "--output", at(output).string()}, more));
  }
  /// The weights alone of a folder that also holds expected values.
  std::map<std::string, StoredTensor> golden_tensors(const std::string& name) const {
    const fs::path folder = at("golden_" + name);
    fs::create_directory(folder);
    fs::copy_file(kFolders / name / "model.safetensors", folder / "model.safetensors");
    return stored_tensors(folder);
  }
  void expect_refused(int exit_code, const Outcome& outcome, const std::vector<std::string>& parts) const {
    EXPECT_EQ(outcome.exit_code, exit_code) << outcome.err;
    EXPECT_EQ(outcome.out, "");
    for (const std::string& part : parts) {
      EXPECT_THAT(outcome.err, HasSubstr(part));
    }
    EXPECT_FALSE(fs::exists(at("x")));
  }

  TemporaryFolder scratch_;
};

Json quantization_of(const fs::path& folder) {
  return read_json(folder / "config.json", ErrorKind::kModel)["quantization_config"];
}

/// --quantize for a case's model.quantization.
std::string word_of(const Json& quantization) {
  return quantization["type"].get<std::string>() + (quantization.value("double_quant", false) ? "-dq" : "");
}

TEST_F(ConvertQuantized, WritesTheTensorsOfTransformers) {
  const Json cases = read_json(kFolders / "cases.json", ErrorKind::kData);
  for (const auto& [name, facts] : cases.items()) {
    const Outcome outcome = convert(kData / facts["base"].get<std::string>(), word_of(facts["quantization"]), name,
                                    {"--dtype", facts["dtype"].get<std::string>()});
    ASSERT_EQ(outcome.exit_code, 0) << name << outcome.err;
    const auto found = stored_tensors(at(name)), expected = golden_tensors(name);
    const bool is_skipped = facts["quantization"].contains("skip_modules");  // up_proj is plain in the golden folder
    EXPECT_TRUE(is_skipped || found.size() == expected.size()) << name;
    for (const auto& [tensor, stored] : found) {
      if (is_skipped && tensor.find("up_proj") != std::string::npos) {
        continue;
      }
      ASSERT_EQ(expected.count(tensor), 1U) << name << " " << tensor;
      EXPECT_EQ(stored.bytes, expected.at(tensor).bytes) << name << " " << tensor;
      if (facts["quant_storage"] == "uint8") {
        EXPECT_EQ(stored, expected.at(tensor)) << name << " " << tensor;
      }
    }
  }
}

TEST_F(ConvertQuantized, WritesTheConfigOfTransformers) {
  for (const std::string name : {"nf4", "nf4-dq", "fp4", "int8"}) {
    const fs::path golden = kFolders / (name == "nf4-dq" ? "nf4_dq" : name);
    ASSERT_EQ(convert(kData / "quantized/training/nf4_dq/model", name, name).exit_code, 0);
    Json expected = quantization_of(golden);
    expected["llm_int8_skip_modules"] = {"lm_head", "score", "model.embed_tokens"};
    expected["bnb_4bit_compute_dtype"] = "bfloat16";  // that of the weights, not float32
    expected["bnb_4bit_quant_storage"] = "uint8";
    EXPECT_EQ(quantization_of(at(name)), expected) << name;
  }
}

TEST_F(ConvertQuantized, GivesTheModelThatLoadingQuantises) {
  const fs::path base = kData / "quantized/training/nf4/model";
  scratch_.write("base/tokenizer.json", "{}");
  fs::copy(base, at("base"), fs::copy_options::recursive);
  const Outcome outcome = convert(at("base"), "nf4-dq", "packed", {"--max-shard-size", "10KB", "--json"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const Json report = Json::parse(outcome.out);
  EXPECT_EQ(report["quantization"], "nf4-dq");
  EXPECT_EQ(report["num_matrices"], 14);
  EXPECT_EQ(report["plain_modules"], Json::parse(R"(["lm_head", "score", "model.embed_tokens"])"));
  EXPECT_EQ(read_text(at("packed") / "tokenizer.json"), "{}");
  const Json index = read_json(at("packed") / "model.safetensors.index.json", ErrorKind::kModel);
  EXPECT_EQ(index["weight_map"].size(), stored_tensors(at("packed")).size());
  const auto losses = [&](const fs::path& model, const Arguments& more) {
    const Outcome shown =
        run_tool(with({"lora-eval", "--model", model.string(), "--data", (kData / "quantized/training/nf4/eval.jsonl").string(), "--format",
                       "tokens", "--device", "cpu", "--json"},
                      more));
    EXPECT_EQ(shown.exit_code, 0) << shown.err;
    return shown.exit_code == 0 ? Json::parse(shown.out) : Json::object();
  };
  const Json packed = losses(at("packed"), {}), quantised = losses(at("base"), {"--quantize", "nf4-dq"});
  EXPECT_EQ(packed["loss"], quantised["loss"]);
  EXPECT_NE(packed["loss"], losses(at("base"), {})["loss"]);
}

TEST_F(ConvertQuantized, QuantisesWhatIsPackedAlready) {
  const Outcome outcome = convert(kFolders / "nf4", "int8", "packed");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("packed already (nf4)"));
  EXPECT_THAT(outcome.out, AllOf(HasSubstr("int8, 7 matrices with 8."), HasSubstr("bits for each parameter")));
  const auto tensors = stored_tensors(at("packed"));
  EXPECT_EQ(tensors.count("model.layers.0.self_attn.q_proj.SCB"), 1U);
  EXPECT_EQ(tensors.count("model.layers.0.self_attn.q_proj.weight.absmax"), 0U);
  EXPECT_EQ(quantization_of(at("packed"))["load_in_8bit"], true);
}

TEST_F(ConvertQuantized, KeepsAClassifiersHeadPlain) {
  const fs::path base = kData / "classification/bert_full/model";
  ASSERT_EQ(convert(base, "nf4", "packed").exit_code, 0);
  const auto tensors = stored_tensors(at("packed"));
  EXPECT_EQ(tensors.count("bert.encoder.layer.0.attention.self.query.weight.absmax"), 1U);
  EXPECT_EQ(tensors.count("classifier.weight.absmax"), 0U);
  const Json skipped = quantization_of(at("packed"))["llm_int8_skip_modules"];
  for (const char* const module : {"classifier", "bert.pooler.dense"}) {
    EXPECT_NE(std::find(skipped.begin(), skipped.end(), module), skipped.end()) << module << " " << skipped;
  }
}

TEST_F(ConvertQuantized, Refusals) {
  const fs::path base = kData / "quantized/training/nf4/model", adapter = kData / "quantized/training/nf4/adapter";
  expect_refused(2, convert(base, "gptq", "x"), {"--quantize", "found 'gptq'", "nf4, nf4-dq, fp4, fp4-dq, int8"});
  expect_refused(2, convert(base, "nf4", "x", {"--adapter", adapter.string()}), {"--adapter", "converts a model, not an adapter"});
  expect_refused(2, convert(base, "nf4", "x", {"--to", "gguf"}), {"--to"});
  expect_refused(2, convert(base, "nf4", "x", {"--r", "4"}), {"--r"});
  expect_refused(2, convert(base, "nf4", "x", {"--dtype", "int8"}), {"int8"});
  expect_refused(2, convert(base, "nf4", "x", {"--max-shard-size", "0"}), {"--max-shard-size"});
  expect_refused(2, run_tool({"lora-convert", "--quantize", "nf4", "--output", at("x").string()}), {"--model", "is missing"});
  expect_refused(
      2, run_tool({"lora-convert", "--adapter", adapter.string(), "--to", "mlx", "--max-shard-size", "5GB", "--output", at("x").string()}),
      {"--max-shard-size", "--quantize"});
  fs::copy(base, at("base"));
  expect_refused(6, convert(at("base"), "nf4", "base/x"), {"overlaps the input"});
  expect_refused(4, convert(at("none"), "nf4", "x"), {"none"});
}

TEST_F(ConvertQuantized, RefusesATruncatedModel) {
  fs::copy(kData / "quantized/training/nf4/model", at("base"));
  fs::resize_file(at("base") / "model.safetensors", 9000);
  expect_refused(4, convert(at("base"), "nf4", "x"), {"model.safetensors"});
}

}  // namespace
}  // namespace lora::test
