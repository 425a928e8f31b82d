// lora-merge with packed bases, and with adapters whose base was quantised for training.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lora/base/file.h"
#include "process.h"
#include "support/paths.h"
#include "tensor_file.h"

namespace lora::test {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

const fs::path kPacked = kData / "quantized/bitsandbytes_models";
const fs::path kGolden = kData / "quantized/merge";
/// PEFT's, of the base from which the folders of kPacked were made.
const fs::path kPeftAdapter = kData / "quantized/training/nf4_dq/adapter";

Json config_of(const fs::path& folder) {
  return read_json(folder / "config.json", ErrorKind::kModel);
}

void expect_same_tensors(const fs::path& found_folder, const fs::path& expected_folder) {
  const auto found = stored_tensors(found_folder), expected = stored_tensors(expected_folder);
  EXPECT_EQ(found.size(), expected.size());
  for (const auto& [name, tensor] : expected) {
    ASSERT_EQ(found.count(name), 1U) << name;
    EXPECT_EQ(found.at(name), tensor) << name;
  }
}

class MergeQuantized : public testing::Test {
 protected:
  fs::path at(const std::string& name) const { return scratch_ / name; }
  Arguments merge(const fs::path& model, const fs::path& adapter, const std::string& output, const Arguments& more = {}) const {
    return with(
        {"lora-merge", "--model", model.string(), "--adapter", adapter.string(), "--output", at(output).string(), "--device", "cpu"}, more);
  }
  void expect_refused(int exit_code, const Arguments& command, const std::vector<std::string>& parts) const {
    const Outcome outcome = run_tool(command);
    EXPECT_EQ(outcome.exit_code, exit_code) << outcome.err;
    EXPECT_EQ(outcome.out, "");
    for (const std::string& part : parts) {
      EXPECT_THAT(outcome.err, HasSubstr(part));
    }
  }
  /// A copy of a case of tests/data/quantized/training, with an adapter that was trained for two steps in "out".
  fs::path trained(const std::string& name, const std::vector<std::string>& settings = {}) const {
    const fs::path folder = at(name);
    fs::copy(kData / "quantized/training/nf4", folder, fs::copy_options::recursive);
    Arguments arguments{"--config", (folder / "run.json").string(), "--set", "training.max_steps=2"};
    for (const std::string& setting : settings) {
      arguments.insert(arguments.end(), {"--set", setting});
    }
    const Outcome outcome = lora_train(arguments);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return folder;
  }

  TemporaryFolder scratch_;
};

TEST_F(MergeQuantized, APackedBaseIsMergedIntoItsDequantisedWeights) {
  for (const std::string name : {"nf4", "nf4_dq", "fp4", "int8"}) {
    const Outcome outcome = run_tool(merge(kPacked / name, kPeftAdapter, name, {"--dtype", "float32", "--verify"}));
    ASSERT_EQ(outcome.exit_code, 0) << name << outcome.err;
    EXPECT_THAT(outcome.err, AllOf(HasSubstr("the weights are packed ("), HasSubstr("the result has plain numbers in float32"))) << name;
    EXPECT_FALSE(config_of(at(name)).contains("quantization_config")) << name;
    EXPECT_EQ(config_of(at(name))["dtype"], "float32") << name;
    const auto found = stored_tensors(at(name));
    for (const auto& [tensor, stored] : found) {
      EXPECT_EQ(stored.dtype, "F32") << name << " " << tensor;
    }
    for (const auto& [tensor, expected] : stored_tensors(kGolden / name / "merged")) {
      ASSERT_EQ(found.count(tensor), 1U) << name << " " << tensor;
      EXPECT_LE(largest_difference(found.at(tensor), expected), 1e-6) << name << " " << tensor;
    }
  }
}

TEST_F(MergeQuantized, RequantisingGivesTheFilesOfPeft) {
  for (const std::string name : {"nf4", "int8"}) {
    const Outcome outcome = run_tool(merge(kPacked / name, kPeftAdapter, name, {"--requantize"}));
    ASSERT_EQ(outcome.exit_code, 0) << name << outcome.err;
    EXPECT_THAT(outcome.out, AllOf(HasSubstr("requantised 7 changed matrices: |requantised - merged| is "), HasSubstr("24 to 125 %")))
        << name;
    EXPECT_THAT(outcome.err, HasSubstr("the result is packed again")) << name;
    expect_same_tensors(at(name), kGolden / name / "requantized");
    Json expected = config_of(kPacked / name)["quantization_config"];
    expected["llm_int8_skip_modules"] = {"lm_head", "score", "model.embed_tokens"};
    EXPECT_EQ(config_of(at(name))["quantization_config"], expected) << name;
  }
}

TEST_F(MergeQuantized, AnAdapterOfAQuantisedBaseIsMergedIntoEitherOne) {
  const fs::path model = trained("case") / "model", adapter = at("case") / "out";
  const Arguments wide{"--dtype", "float32"};
  const Outcome plain = run_tool(merge(model, adapter, "plain", with(wide, {"--verify"})));
  ASSERT_EQ(plain.exit_code, 0) << plain.err;
  EXPECT_THAT(plain.out, AllOf(HasSubstr("verified: largest logit difference "),
                               HasSubstr("compared with the quantised base of the training: largest logit difference ")));
  EXPECT_THAT(plain.err, AllOf(HasSubstr("was trained on this base quantised (nf4 (14 matrices"),
                               HasSubstr("is merged into the plain weights"), HasSubstr("--base-as quantized")));
  const Outcome same = run_tool(merge(model, adapter, "same", with(wide, {"--base-as", "float"})));
  ASSERT_EQ(same.exit_code, 0) << same.err;
  expect_same_tensors(at("same"), at("plain"));
  const Outcome quantised = run_tool(merge(model, adapter, "quantised", with(wide, {"--base-as", "quantized", "--verify"})));
  ASSERT_EQ(quantised.exit_code, 0) << quantised.err;
  EXPECT_THAT(quantised.err, HasSubstr("is merged into the weights that this gives when they are dequantised in float32"));
  EXPECT_FALSE(config_of(at("quantised")).contains("quantization_config"));
  // The dequantised weights again, from a folder that holds them packed.
  ASSERT_EQ(
      run_tool({"lora-convert", "--quantize", "nf4", "--model", model.string(), "--dtype", "float32", "--output", at("packed").string()})
          .exit_code,
      0);
  const Outcome unpacked = run_tool(merge(at("packed"), adapter, "unpacked", with(wide, {"--allow-other-base"})));
  ASSERT_EQ(unpacked.exit_code, 0) << unpacked.err;
  expect_same_tensors(at("quantised"), at("unpacked"));
  const char* const changed = "model.layers.0.mlp.down_proj.weight";
  EXPECT_NE(stored_tensors(at("quantised")).at(changed), stored_tensors(at("plain")).at(changed));
}

TEST_F(MergeQuantized, PacksAsTheAdapterSawIt) {
  const fs::path model = trained("case") / "model", adapter = at("case") / "out";
  const Outcome packed = run_tool(merge(model, adapter, "packed", {"--base-as", "quantized", "--requantize", "--max-shard-size", "20KB"}));
  ASSERT_EQ(packed.exit_code, 0) << packed.err;
  EXPECT_THAT(packed.out, HasSubstr("requantised 14 changed matrices"));
  EXPECT_TRUE(fs::exists(at("packed") / "model.safetensors.index.json"));
  EXPECT_EQ(config_of(at("packed"))["quantization_config"]["bnb_4bit_quant_type"], "nf4");
  ASSERT_EQ(
      run_tool({"lora-convert", "--quantize", "nf4", "--model", model.string(), "--dtype", "float32", "--output", at("base").string()})
          .exit_code,
      0);
  ASSERT_EQ(run_tool(merge(at("base"), adapter, "again", {"--requantize", "--allow-other-base"})).exit_code, 0);
  const auto found = stored_tensors(at("packed")), expected = stored_tensors(at("again"));
  ASSERT_EQ(found.size(), expected.size());
  for (const auto& [name, tensor] : expected) {
    if (name.find("proj") != std::string::npos) {  // the others have the base's own dtype
      EXPECT_EQ(found.at(name), tensor) << name;
    }
  }
  // Logits differ by the rounding, of which --tolerance says how much is expected.
  EXPECT_EQ(run_tool(merge(model, adapter, "checked", {"--requantize", "--verify", "--tolerance", "1"})).exit_code, 0);
}

TEST_F(MergeQuantized, AGgufFileGivesAFolder) {
  const fs::path gguf = kData / "quantized/gguf_models/llama.gguf";
  trained("case", {"model.path=" + gguf.string(), "model.quantization=null", "adapter.init_from=null"});
  const Outcome outcome = run_tool(merge(gguf, at("case") / "out", "merged", {"--verify"}));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("the weights are packed ("));
  for (const char* const file : {"config.json", "tokenizer_config.json", "model.safetensors"}) {
    EXPECT_TRUE(fs::exists(at("merged") / file)) << file;
  }
  EXPECT_EQ(config_of(at("merged"))["dtype"], "bfloat16");
  EXPECT_EQ(stored_tensors(at("merged")).at("model.layers.0.self_attn.q_proj.weight").dtype, "BF16");
  expect_refused(4, merge(gguf, at("case") / "out", "packed", {"--requantize"}), {"cannot be packed again", "nf4, fp4 or int8"});
}

TEST_F(MergeQuantized, LoftqFitsOnlyTheQuantisedBase) {
  const fs::path model = trained("case", {"adapter.init_from=null", "adapter.init_lora_weights=loftq"}) / "model",
                 adapter = at("case") / "out";
  expect_refused(4, merge(model, adapter, "refused"), {"was initialised by LoftQ", "--base-as quantized"});
  const Outcome quantised = run_tool(merge(model, adapter, "quantised", {"--base-as", "quantized", "--verify"}));
  EXPECT_EQ(quantised.exit_code, 0) << quantised.err;
  const Outcome asked_for = run_tool(merge(model, adapter, "plain", {"--base-as", "float"}));
  EXPECT_EQ(asked_for.exit_code, 0) << asked_for.err;
  EXPECT_THAT(asked_for.err, HasSubstr("The result is wrong by the correction"));
  const Arguments halved{"--base-as", "quantized", "--weight", "0.5"};
  expect_refused(4, merge(model, adapter, "half", halved), {"--weight", "LoftQ"});
  expect_refused(4, merge(model, adapter, "twice", {"--base-as", "quantized", "--adapter", adapter.string()}), {"corrected twice"});
  expect_refused(
      4, {"lora-merge", "--combine", "linear", "--adapter", adapter.string(), "--adapter", adapter.string(), "--output", at("x").string()},
      {"cannot be combined", "LoftQ"});
}

TEST_F(MergeQuantized, CombinedAdaptersKnowTheirCommonBase) {
  const fs::path model = trained("case") / "model", adapter = at("case") / "out";
  ASSERT_EQ(run_tool({"lora-merge", "--combine", "cat", "--adapter", adapter.string(), "--adapter", adapter.string(), "--weight", "0.5",
                      "--weight", "0.5", "--output", at("both").string()})
                .exit_code,
            0);
  ASSERT_EQ(run_tool(merge(model, at("both"), "merged", {"--base-as", "quantized", "--dtype", "float32"})).exit_code, 0);
  ASSERT_EQ(run_tool(merge(model, adapter, "single", {"--base-as", "quantized", "--dtype", "float32"})).exit_code, 0);
  const char* const changed = "model.layers.0.mlp.down_proj.weight";
  EXPECT_LE(largest_difference(stored_tensors(at("merged")).at(changed), stored_tensors(at("single")).at(changed)), 1e-6);
  const Outcome mixed = run_tool({"lora-merge", "--combine", "cat", "--adapter", adapter.string(), "--adapter",
                                  (at("case") / "adapter").string(), "--output", at("mixed").string()});
  EXPECT_EQ(mixed.exit_code, 0) << mixed.err;
  EXPECT_THAT(mixed.err, HasSubstr("their combination fits neither exactly"));
}

TEST_F(MergeQuantized, RefusesWhatMeansNothing) {
  const fs::path model = kData / "quantized/training/nf4/model", adapter = kData / "quantized/training/nf4/adapter";
  expect_refused(2, merge(model, adapter, "x", {"--base-as", "quantised"}), {"--base-as", "did you mean 'quantized'"});
  expect_refused(2, merge(model, adapter, "x", {"--unmerge", "--base-as", "quantized"}), {"--base-as", "--unmerge"});
  expect_refused(2, merge(model, adapter, "x", {"--unmerge", "--requantize"}), {"--requantize", "--unmerge", "rounds"});
  expect_refused(2, merge(model, adapter, "x", {"--requantize", "--verify"}), {"--verify", "--tolerance"});
  expect_refused(2, {"lora-merge", "--combine", "linear", "--adapter", adapter.string(), "--output", at("x").string(), "--requantize"},
                 {"--requantize", "--combine"});
  expect_refused(4, merge(model, adapter, "x", {"--base-as", "quantized"}), {"does not say that its base was quantised", "lora-convert"});
  expect_refused(4, merge(model, adapter, "x", {"--requantize"}), {"does not say that its base was quantised"});
  expect_refused(2, merge(kPacked / "nf4", kPeftAdapter, "x", {"--base-as", "float"}), {"--base-as", "packed (nf4)"});
  expect_refused(4, merge(kPacked / "nf4", kPeftAdapter, "x", {"--unmerge"}), {"packed (nf4)", "cannot be subtracted"});
  expect_refused(4, merge(kData / "quantized/gptq/4bit", kPeftAdapter, "x", {"--requantize"}), {"cannot be packed again"});
  EXPECT_FALSE(fs::exists(at("x")));
}

TEST_F(MergeQuantized, RefusesDamagedFiles) {
  fs::copy(kPacked / "nf4", at("base"));
  fs::resize_file(at("base") / "model.safetensors", 20000);
  expect_refused(4, merge(at("base"), kPeftAdapter, "x"), {"model.safetensors"});
  const fs::path model = trained("case") / "model", adapter = at("case") / "out";
  std::string bytes = read_text(adapter / "adapter_model.safetensors");
  const size_t place = bytes.find(R"(\"type\":\"nf4\")");
  ASSERT_NE(place, std::string::npos) << "the settings are in the metadata";
  bytes.replace(place, 16, R"(\"type\":\"nf5\")");
  write_text(adapter / "adapter_model.safetensors", bytes);
  expect_refused(4, merge(model, adapter, "x", {"--base-as", "quantized"}), {"base_quantization_settings", "nf5"});
  EXPECT_FALSE(fs::exists(at("x")));
}

}  // namespace
}  // namespace lora::test
