// A whole small pipeline of FLUX.1 in the programs: training on an image, images with its adapter in every format, and errors.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "process.h"
#include "support/paths.h"

namespace lora::test {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

/// The transformer of tests/data/diffusion/flux with small encoders of the other families.
void write_flux_pipeline(const fs::path& folder) {
  const fs::path source = kData / "diffusion";
  fs::copy(source / "flux/model", folder, fs::copy_options::recursive);
  const std::pair<const char*, fs::path> parts[] = {{"text_encoder", source / "sdxl/model/text_encoder"},
                                                    {"tokenizer", source / "sdxl/model/tokenizer"},
                                                    {"text_encoder_2", source / "t5/text_encoder"},
                                                    {"tokenizer_2", source / "t5/tokenizer"},
                                                    {"vae", source / "vae16"}};
  Json index = Json::parse(read_text(folder / "model_index.json"));
  for (const auto& [name, from] : parts) {
    fs::copy(from, folder / name, fs::copy_options::recursive);
    index[name] = {"diffusers", "a class"};
  }
  fs::remove(folder / "vae/expected.safetensors");
  write_text(folder / "model_index.json", index.dump());
}

struct FluxPipeline {
  TemporaryFolder scratch;

  FluxPipeline() {
    write_flux_pipeline(scratch / "model");
    fs::create_directories(scratch / "images");
    fs::rename(image({}), scratch / "images/0.png");
    write_text(scratch / "images/0.txt", "a photo of a cat");
    const Json config{
        {"model", {{"path", "model"}, {"dtype", "float32"}}},
        {"adapter", {{"r", 2}, {"lora_alpha", 2}}},
        {"data", {{"train", {{{"path", "images"}, {"format", "images"}}}}, {"resolution", 32}}},
        {"training", {{"objective", "denoising"}, {"max_steps", 2}, {"learning_rate", 0.01}, {"weighting_scheme", "none"}}},
        {"output_dir", "out"}};
    write_text(scratch / "config.json", config.dump());
  }
  std::string at(const std::string& name) const { return (scratch / name).string(); }
  Outcome generate(const Arguments& more) const {
    return run_tool(with({"lora-generate", "--image", "--model", at("model"), "--prompt", "a photo of a cat", "--dtype", "float32",
                          "--height", "32", "--steps", "2", "--output", at("image.png")},
                         more));
  }
  fs::path image(const Arguments& more) const {
    const Outcome outcome = generate(with({"--width", "32"}, more));
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return scratch / "image.png";
  }
  Outcome train(const Arguments& more) const { return lora_train(with({"--config", at("config.json")}, more)); }
};

void expect_refusal(const Outcome& outcome, int exit_code, const std::vector<std::string>& parts) {
  EXPECT_EQ(outcome.exit_code, exit_code) << outcome.err;
  for (const std::string& part : parts) {
    EXPECT_THAT(outcome.err, HasSubstr(part));
  }
}

TEST(FluxPipeline, IsTrainedOnImagesAndItsAdapterWorksInEveryFormat) {
  const FluxPipeline own;
  const Outcome outcome = own.train({});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("train        1 image, latents 4x4"));
  const std::string with_adapter = read_text(own.image({"--adapter", own.at("out")}));
  EXPECT_NE(with_adapter, read_text(own.image({})));
  EXPECT_NE(with_adapter, read_text(own.image({"--adapter", own.at("out"), "--guidance", "1"})));
  for (const std::string format : {"kohya", "diffusers"}) {
    const std::string file = own.at(format + ".safetensors");
    const Outcome converted =
        run_tool({"lora-convert", "--adapter", own.at("out"), "--to", format, "--model", own.at("model"), "--output", file});
    ASSERT_EQ(converted.exit_code, 0) << converted.err;
    EXPECT_EQ(read_text(own.image({"--adapter", file})), with_adapter) << format;
  }
  const Json facts = Json::parse(run_tool({"lora-inspect", own.at("kohya.safetensors"), "--json"}).out);
  EXPECT_EQ(facts["family"], "FLUX.1");
  EXPECT_EQ(facts["modules"].size(), 18U);
}

TEST(FluxPipeline, TrainsOnAQuantisedTransformerAsBitsandbytesDoes) {
  const TemporaryFolder scratch;
  fs::copy(kData / "diffusion/flux", scratch / "flux", fs::copy_options::recursive);
  const std::string quantization = "model.quantization={\"type\": \"nf4\"}", config = (scratch / "flux/run_adapter.json").string();
  const Outcome outcome = lora_train({"--config", config, "--set", quantization});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const Json steps = Json::parse(read_text(scratch / "flux/expected_nf4.json"))["steps"];
  const std::vector<Json> rows = read_rows(scratch / "flux/out/metrics.jsonl");
  ASSERT_EQ(rows.size(), steps.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    const double loss = steps[i]["loss"], norm = steps[i]["grad_norm"];
    EXPECT_NEAR(rows[i]["loss"].get<double>(), loss, 1e-6 * loss) << "step " << i + 1;
    EXPECT_NEAR(rows[i]["grad_norm"].get<double>(), norm, 1e-4 * norm) << "step " << i + 1;
  }
}

TEST(FluxPipeline, NamesWhatItDoesNotTake) {
  const FluxPipeline own;
  expect_refusal(own.generate({"--width", "40"}), 2, {"--width", "40", "multiple of 16"});
  expect_refusal(own.generate({"--width", "32", "--negative-prompt", "a dog"}), 2, {"--negative-prompt", "guidance scale"});
  expect_refusal(own.generate({"--width", "32", "--prediction-type", "epsilon"}), 2, {"prediction_type", "flow matching"});
  expect_refusal(own.train({"--set", "data.resolution=40"}), 3, {"0.png", "5 and 5", "multiples of 2", "data.resolution"});
  expect_refusal(own.train({"--set", "model.prediction_type=v_prediction"}), 2, {"model.prediction_type", "v_prediction"});
  expect_refusal(own.train({"--set", "adapter.target_modules=[\"to_z\"]"}), 2, {"to_z", "proj_mlp"});
}

}  // namespace
}  // namespace lora::test
