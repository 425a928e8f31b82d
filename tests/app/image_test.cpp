// lora-generate --image on the small pipelines: files, adapters and their weights, and errors.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "lora/base/file.h"
#include "lora/base/random.h"
#include "process.h"
#include "support/paths.h"

namespace lora::test {
namespace {

using testing::HasSubstr;

fs::path family_folder(const std::string& family) {
  return kData / "diffusion" / family;
}

struct ImageRun {
  TemporaryFolder folder;

  Outcome run(const std::string& family, const Arguments& more) const {
    const bool has_steps = std::find(more.begin(), more.end(), "--steps") != more.end();
    return run_tool(with(with({"lora-generate", "--image", "--model", (family_folder(family) / "model").string(), "--prompt",
                               "a photo of a cat", "--device", "cpu"},
                              has_steps ? Arguments() : Arguments{"--steps", "2"}),
                         more));
  }
  /// The bytes of the file.
  std::string image(const std::string& family, const Arguments& more) const {
    const fs::path file = folder / "image.png";
    const Outcome outcome = run(family, with({"--output", file.string()}, more));
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("seed"));
    return outcome.exit_code == 0 ? read_text(file) : "";
  }
  void fails(int exit_code, const Arguments& more, const std::vector<std::string>& parts) const {
    const Outcome outcome = run("sd1", more);
    EXPECT_EQ(outcome.exit_code, exit_code) << outcome.err;
    for (const std::string& part : parts) {
      EXPECT_THAT(outcome.err, HasSubstr(part));
    }
    EXPECT_FALSE(fs::exists(folder / "bad.png"));
  }
};

/// Width and height, by the header of a PNG file.
std::pair<int, int> size_in(const std::string& png) {
  EXPECT_EQ(png.substr(0, 8), "\x89PNG\r\n\x1a\n");
  const auto byte = [&png](size_t at) { return static_cast<unsigned char>(png.at(at)); };
  const auto number = [&byte](size_t at) { return byte(at + 2) * 256 + byte(at + 3); };
  return {number(16), number(20)};
}

TEST(Image, DependsOnSeedSizeSamplerPromptAndAdapters) {
  const ImageRun own;
  const std::string attention = (family_folder("sd1") / "adapters/attention").string();
  const std::string conv = (family_folder("sd1") / "adapters/conv").string();
  const std::string plain = own.image("sd1", {});
  EXPECT_EQ(size_in(plain), std::pair(64, 64));
  EXPECT_EQ(own.image("sd1", {"--seed", "42", "--guidance", "7.5", "--sampler", "ddim"}), plain);
  EXPECT_EQ(own.image("sd1", {"--adapter", attention, "--weight", "0"}), plain);
  const std::string one = own.image("sd1", {"--adapter", attention});
  EXPECT_EQ(own.image("sd1", {"--adapter", "cats=" + attention}), one);
  const std::vector<Arguments> others{{"--seed", "43"},
                                      {"--guidance", "1"},
                                      {"--sampler", "euler_a"},
                                      {"--negative-prompt", "a house"},
                                      {"--adapter", attention, "--weight", "0.5"},
                                      {"--adapter", attention, "--adapter", conv}};
  std::vector<std::string> images{plain, one};
  for (const Arguments& more : others) {
    images.push_back(own.image("sd1", more));
  }
  for (size_t i = 0; i < images.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      EXPECT_NE(images[i], images[j]) << i << " and " << j;
    }
  }
  EXPECT_EQ(size_in(own.image("sdxl", {"--width", "72", "--height", "40"})), std::pair(72, 40));
}

TEST(Image, TakesAdaptersOfOtherPrograms) {
  const ImageRun own;
  const std::string model = (family_folder("sd1") / "model").string(), attention = (family_folder("sd1") / "adapters/attention").string();
  const std::string expected = own.image("sd1", {"--adapter", attention, "--weight", "0.5"});
  for (const char* format : {"diffusers", "kohya"}) {
    const std::string file = (own.folder / (std::string(format) + ".safetensors")).string();
    const Outcome converted = run_tool({"lora-convert", "--to", format, "--adapter", attention, "--model", model, "--output", file});
    ASSERT_EQ(converted.exit_code, 0) << converted.err;
    EXPECT_EQ(own.image("sd1", {"--adapter", file, "--weight", "0.5"}), expected) << format;
  }
  const std::string weights = (fs::path(model) / "vae/diffusion_pytorch_model.safetensors").string();
  own.fails(4, {"--output", (own.folder / "bad.png").string(), "--adapter", weights}, {"diffusion_pytorch_model.safetensors"});
  // Of another family: the message names the file, not the folder into which it was converted.
  const std::string other = (kData / "diffusion/lora/sdxl/kohya.safetensors").string();
  own.fails(4, {"--output", (own.folder / "bad.png").string(), "--adapter", other}, {other});
}

TEST(Image, ReplacesPartsOfThePipeline) {
  const ImageRun own;
  const std::string plain = own.image("sd1", {}), file = (own.folder / "bad.png").string();
  EXPECT_EQ(own.image("sd1", {"--vae", (family_folder("sd1") / "model/vae").string(), "--prediction-type", "epsilon"}), plain);
  EXPECT_NE(own.image("sd1", {"--prediction-type", "v_prediction"}), plain);
  EXPECT_EQ(own.image("sd1", {"--clip-skip", "1"}), plain);
  EXPECT_NE(own.image("sd1", {"--clip-skip", "2"}), plain);
  own.fails(2, {"--output", file, "--clip-skip", "4"}, {"clip_skip", "found 4, expected 1 to 3"});
  own.fails(2, {"--output", file, "--clip-skip", "0"}, {"--clip-skip", "found 0"});
  own.fails(2, {"--output", file, "--prediction-type", "noise"}, {"--prediction-type", "noise", "v_prediction"});
  EXPECT_THAT(own.run("sd1", {"--output", (own.folder / "a.png").string(), "--variant", "fp16"}).err, HasSubstr("the variant fp16"));
  own.fails(4, {"--output", file, "--vae", (own.folder / "none").string()}, {"none"});
}

TEST(Image, NamesWhatIsWrong) {
  const ImageRun own;
  const std::string file = (own.folder / "bad.png").string(), attention = (family_folder("sd1") / "adapters/attention").string();
  const auto with_file = [&file](const Arguments& more) { return with({"--output", file}, more); };
  own.fails(2, {}, {"--image", "--output"});
  own.fails(2, with_file({"--sampler", "heun"}), {"--sampler", "heun", "dpmpp_2m"});
  own.fails(2, with_file({"--width", "63"}), {"--width", "63", "multiple of 8"});
  own.fails(2, with_file({"--steps", "0"}), {"steps", "0", "1000"});
  own.fails(2, with_file({"--guidance", "nan"}), {"--guidance", "nan"});
  own.fails(2, with_file({"--adapter", attention, "--weight", "1", "--weight", "2"}), {"--weight", "2", "1 --adapter"});
  own.fails(2, with_file({"--temperature", "0.5"}), {"--temperature", "--image"});
  own.fails(4, with_file({"--adapter", (family_folder("sd1") / "model").string()}), {"--adapter", "adapter_config.json"});
  own.fails(4, with_file({"--adapter", (family_folder("sdxl") / "adapters/attention").string()}), {"adapters/attention"});
  const Outcome texts = run_tool({"lora-generate", "--model", (kData / "llama/gqa/model").string(), "--prompt", "a", "--steps", "3"});
  EXPECT_EQ(texts.exit_code, 2) << texts.err;
  EXPECT_THAT(texts.err, HasSubstr("--image"));
}

TEST(Image, RunsWriteImagesOfWhatTheyHaveTrained) {
  const TemporaryFolder scratch;
  fs::copy(family_folder("sd1"), scratch / "sd1", fs::copy_options::recursive);
  const auto train = [&scratch](const std::string& sample) {
    return lora_train({"--config", (scratch / "sd1/run_attention.json").string(), "--set", "training.max_steps=4", "--set",
                       "training.sample=" + sample});
  };
  const Outcome wrong = train(R"({"prompts": [], "every": 0, "sampler": "x"})");
  EXPECT_EQ(wrong.exit_code, 2);
  for (const char* part : {"training.sample.prompts", "training.sample.every", "training.sample.sampler"}) {
    EXPECT_THAT(wrong.err, HasSubstr(part));
  }
  EXPECT_EQ(train(R"({"prompts": ["a cat"], "steps": 1001})").exit_code, 2);
  EXPECT_EQ(read_text(scratch / "sd1/out/metrics.jsonl"), "") << "more steps than timesteps are reported before training";
  const Outcome outcome = train(R"({"prompts": ["a cat", "a dog"], "steps": 2, "every": 3})");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(scratch / "sd1/out/samples")) {
    names.push_back(entry.path().filename());
  }
  EXPECT_THAT(names, testing::UnorderedElementsAre("step-000003-1.png", "step-000003-2.png", "step-000004-1.png", "step-000004-2.png"));
  const fs::path samples = scratch / "sd1/out/samples", again = scratch / "again.png";
  EXPECT_NE(read_text(samples / "step-000003-2.png"), read_text(samples / "step-000004-2.png"));
  const Outcome generated =
      run_tool({"lora-generate", "--image", "--model", (scratch / "sd1/model").string(), "--adapter", (scratch / "sd1/out").string(),
                "--prompt", "a dog", "--steps", "2", "--device", "cpu", "--dtype", "float32", "--output", again.string(), "--seed",
                std::to_string(mix64(42, 1))});
  EXPECT_EQ(generated.exit_code, 0) << generated.err;
  EXPECT_EQ(read_text(again), read_text(samples / "step-000004-2.png"));
  const Outcome watched = train(R"({"prompts": ["a house"], "steps": 2})");  // the same run, which has finished
  EXPECT_EQ(watched.exit_code, 0) << watched.err;
}

}  // namespace
}  // namespace lora::test
