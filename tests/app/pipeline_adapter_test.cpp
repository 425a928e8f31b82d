// Adapters of text-to-image pipelines in the programs: converted, merged into a pipeline's folder, inspected, extracted from one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "process.h"
#include "support/paths.h"
#include "tensor_file.h"

namespace lora::test {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

class PipelineAdapter : public testing::Test {
 protected:
  static std::string model(const std::string& family) { return (kData / "diffusion" / family / "model").string(); }
  static std::string file(const std::string& name) { return (kData / "diffusion/lora" / name).string(); }
  std::string at(const std::string& name) const { return (scratch_ / name).string(); }

  static Outcome run(const Arguments& arguments) {
    Outcome outcome = run_tool(arguments);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return outcome;
  }
  static Json facts(const std::string& path) {
    const Outcome outcome = run({"lora-inspect", path, "--json"});
    return outcome.exit_code == 0 ? Json::parse(outcome.out) : Json::object();
  }
  static void expect_refused(const Arguments& arguments, int exit_code, const std::vector<std::string>& parts) {
    const Outcome outcome = run_tool(arguments);
    EXPECT_EQ(outcome.exit_code, exit_code) << outcome.err;
    for (const std::string& part : parts) {
      EXPECT_THAT(outcome.err, HasSubstr(part));
    }
  }
  /// Expects that two adapters have the same modules, equal up to `tolerance`.
  static void expect_same(const std::string& first, const std::string& second, double tolerance) {
    const Outcome outcome = run({"lora-inspect", first, "--diff", second, "--json"});
    const Json found = Json::parse(outcome.out);
    EXPECT_TRUE(found["only_in_first"].empty() && found["only_in_second"].empty()) << outcome.out;
    ASSERT_FALSE(found["modules"].empty());
    EXPECT_EQ(found["config"].is_null(), fs::is_regular_file(first) || fs::is_regular_file(second));
    for (const Json& module : found["modules"]) {
      EXPECT_LE(module["relative_difference"].get<double>(), tolerance) << module;
    }
  }

  TemporaryFolder scratch_;
};

TEST_F(PipelineAdapter, IsConvertedToEveryFormatAndBack) {
  run({"lora-convert", "--adapter", file("sdxl/peft"), "--to", "kohya", "--model", model("sdxl"), "--output", at("k.safetensors")});
  run({"lora-convert", "--adapter", at("k.safetensors"), "--to", "diffusers", "--output", at("d.safetensors")});
  const Outcome back = run({"lora-convert", "--adapter", at("d.safetensors"), "--to", "peft", "--output", at("peft"), "--json"});
  EXPECT_EQ(Json::parse(back.out)["num_modules"], 20);
  for (const char* folder : {"peft", "peft/text_encoder", "peft/text_encoder_2"}) {
    EXPECT_TRUE(fs::exists(scratch_ / folder / "adapter_config.json")) << folder;
  }
  expect_same(file("sdxl/peft"), at("peft"), 1e-6);
  expect_same(file("sdxl/peft"), file("sdxl/kohya.safetensors"), 1e-3);
  // For readers that do not know scales: lora_alpha is the rank.
  run({"lora-convert", "--adapter", file("sdxl/peft"), "--to", "diffusers", "--bake", "--output", at("baked.safetensors")});
  for (const Json& module : facts(at("baked.safetensors"))["modules"]) {
    EXPECT_EQ(module["scale"], 1) << module;
  }
  expect_same(file("sdxl/peft"), at("baked.safetensors"), 1e-6);
  run({"lora-convert", "--adapter", file("sd1/kohya.safetensors"), "--resize", "1", "--to", "peft", "--output", at("small")});
  EXPECT_EQ(facts(at("small"))["config"]["r"], 1);

  const Json found = facts(file("sdxl/diffusers.safetensors"));
  EXPECT_EQ(found["format"], "diffusers");
  EXPECT_EQ(found["family"], "Stable Diffusion XL");
  EXPECT_EQ(found["components"]["unet"], Json::parse(R"({"Linear": 9, "Conv2d": 5})"));
  EXPECT_EQ(found["components"]["text_encoder_2"], Json::parse(R"({"Linear": 3})"));
  const Outcome text = run({"lora-inspect", file("sd1/kohya.safetensors")});
  EXPECT_THAT(text.out, AllOf(HasSubstr("Stable Diffusion 1"), HasSubstr("component    unet, 7 Conv2d, 8 Linear"),
                              HasSubstr("unet.down_blocks.0.downsamplers.0.conv")));

  expect_refused({"lora-convert", "--adapter", file("sd1/peft"), "--to", "kohya", "--model", model("sdxl"), "--output", at("x")}, 4,
                 {"does not belong to the base model", "down_blocks.0.attentions.1"});
  expect_refused({"lora-convert", "--adapter", file("sd1/peft"), "--to", "gguf", "--output", at("x")}, 4, {"GGUF", "text-to-image"});
  expect_refused({"lora-convert", "--adapter", file("sd1/peft"), "--to", "kohya", "--kohya-prefix", "lora_te", "--output", at("x")}, 2,
                 {"--kohya-prefix", "prefix of its own"});
  expect_refused({"lora-convert", "--adapter", file("sd1/peft"), "--to", "kohya", "--bake", "--output", at("x")}, 2, {"--bake", "--r"});
}

/// The greatest difference of bfloat16 tensors, relative to the largest value.
double relative_difference(const StoredTensor& first, const StoredTensor& second) {
  const auto values = [](const StoredTensor& tensor) {
    std::vector<double> numbers;
    for (size_t i = 0; i + 1 < tensor.bytes.size(); i += 2) {
      const uint32_t bits = (static_cast<uint32_t>(static_cast<unsigned char>(tensor.bytes[i])) << 16) |
                            (static_cast<uint32_t>(static_cast<unsigned char>(tensor.bytes[i + 1])) << 24);
      float number = 0;
      std::memcpy(&number, &bits, sizeof(number));
      numbers.push_back(number);
    }
    return numbers;
  };
  const std::vector<double> a = values(first), b = values(second);
  double difference = a.size() == b.size() && first.shape == second.shape ? 0 : INFINITY, largest = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    difference = std::max(difference, std::abs(a[i] - b[i]));
    largest = std::max(largest, std::abs(b[i]));
  }
  return difference / largest;
}

TEST_F(PipelineAdapter, IsMergedIntoAFolderOfWhichTheRestIsCopied) {
  const Arguments merge{"lora-merge", "--model", model("sd1"), "--adapter", file("sd1/peft"), "--adapter", file("sd1/kohya.safetensors"),
                        "--weight",   "0.5",     "--weight",   "0.25",      "--output"};
  run(with(merge, {at("merged")}));
  const auto base = stored_tensors(model("sd1") + "/unet"), merged = stored_tensors(at("merged/unet"));
  ASSERT_EQ(merged.size(), base.size());
  size_t changed = 0;
  for (const auto& [name, tensor] : base) {
    ASSERT_EQ(merged.count(name), 1U) << name;
    EXPECT_EQ(merged.at(name).dtype, "BF16");
    changed += merged.at(name) == tensor ? 0 : 1;
  }
  EXPECT_EQ(changed, 15U);
  for (const char* copied : {"model_index.json", "scheduler/scheduler_config.json", "vae/diffusion_pytorch_model.safetensors",
                             "tokenizer/merges.txt", "vae/config.json"}) {
    EXPECT_EQ(read_text(scratch_ / "merged" / copied), read_text(fs::path(model("sd1")) / copied)) << copied;
  }
  EXPECT_NE(read_text(scratch_ / "merged/text_encoder/model.safetensors"),
            read_text(fs::path(model("sd1")) / "text_encoder/model.safetensors"));
  EXPECT_THAT(run_tool(with(merge, {at("merged")})).err, HasSubstr("--overwrite"));
  run(with(merge, {at("merged"), "--overwrite", "--max-shard-size", "100KB"}));
  EXPECT_TRUE(fs::exists(scratch_ / "merged/unet/diffusion_pytorch_model.safetensors.index.json"));
  EXPECT_EQ(stored_tensors(at("merged/unet")), merged);

  // The same change again, and nothing of it.
  run({"lora-merge", "--model", model("sd1"), "--adapter", file("sd1/diffusers.safetensors"), "--dtype", "float32", "--output",
       at("full")});
  EXPECT_EQ(stored_tensors(at("full/unet")).at("conv_in.weight").dtype, "F32");
  run({"lora-convert", "--extract", "--base", model("sd1"), "--tuned", at("full"), "--target-modules",
       "conv_in,to_q,attentions.1.proj_in,q_proj", "--r", "2", "--output", at("extracted")});
  const Json found = facts(at("extracted"));
  EXPECT_EQ(found["modules"].size(), 4U);
  EXPECT_EQ(found["modules"][0]["module"], "text_encoder.text_model.encoder.layers.0.self_attn.q_proj");
  const Outcome difference = run({"lora-inspect", file("sd1/peft"), "--diff", at("extracted"), "--json"});
  const Json modules = Json::parse(difference.out)["modules"];
  ASSERT_EQ(modules.size(), 4U);
  for (const Json& module : modules) {  // q_proj has rank 4
    EXPECT_LE(module["relative_difference"].get<double>(),
              module["module"] == "text_encoder.text_model.encoder.layers.0.self_attn.q_proj" ? 1 : 1e-5)
        << module;
  }
  run({"lora-merge", "--model", at("full"), "--adapter", file("sd1/peft"), "--unmerge", "--dtype", "bfloat16", "--output", at("unmerged")});
  for (const auto& [name, tensor] : stored_tensors(at("unmerged/unet"))) {
    EXPECT_LE(relative_difference(tensor, base.at(name)), 0.004) << name;
  }
  const Json pipeline = facts(at("merged"));
  EXPECT_EQ(pipeline["kind"], "pipeline");
  EXPECT_EQ(pipeline["family"], "Stable Diffusion 1");
  EXPECT_EQ(pipeline["components"].size(), 5U);
  EXPECT_THAT(run({"lora-inspect", model("sdxl")}).out,
              AllOf(HasSubstr("Stable Diffusion XL"), HasSubstr("text_encoder_2"), HasSubstr("Linear")));
}

TEST_F(PipelineAdapter, IsCombinedAndRefusedWhereItDoesNotFit) {
  run({"lora-merge", "--combine", "cat", "--adapter", file("sdxl/peft"), "--adapter", file("sdxl/kohya.safetensors"), "--weight", "0.5",
       "--weight", "0.5", "--output", at("both")});
  EXPECT_TRUE(fs::exists(at("both/text_encoder_2/adapter_model.safetensors")));
  expect_same(file("sdxl/peft"), at("both"), 1e-3);  // kohya's alphas are rounded to float16
  const auto merge = [&](const std::string& base, const std::string& adapter, const Arguments& more = {}) {
    return with({"lora-merge", "--model", base, "--adapter", adapter, "--output", at("x")}, more);
  };
  expect_refused(merge(model("sdxl"), file("sd1/peft")), 4, {"cannot be merged into this base", "unet.down_blocks.0.attentions.1"});
  expect_refused(merge(model("sd1"), (kData / "llama/gqa/adapter").string()), 4, {"not an adapter of a text-to-image pipeline", "unet"});
  expect_refused(merge(model("sd1"), file("sd1/peft"), {"--verify"}), 2, {"--verify", "text-to-image pipeline"});
  expect_refused(merge(model("sd1"), file("sd1_dora/kohya.safetensors"), {"--unmerge"}), 4, {"DoRA", "unmerged"});
  expect_refused(merge(model("sd1") + "/unet/diffusion_pytorch_model.safetensors", file("sd1/peft")), 4,
                 {"a component of a pipeline in diffusers' layout"});
  EXPECT_FALSE(fs::exists(at("x")));
  expect_refused({"lora-convert", "--extract", "--base", model("sd1") + "/unet", "--tuned", model("sd1"), "--r", "2", "--output", at("x")},
                 4, {"--base", "UNet2DConditionModel", "model_index.json"});
  expect_refused({"lora-convert", "--extract", "--base", model("sd1"), "--tuned", model("sd1"), "--target-modules", "to_z", "--r", "2",
                  "--output", at("x")},
                 2, {"--target-modules", "to_z"});
}

}  // namespace
}  // namespace lora::test
