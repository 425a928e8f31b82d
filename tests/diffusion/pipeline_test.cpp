#include "lora/diffusion/pipeline.h"

#include <fstream>

#include "lora/io/checkpoint_writer.h"
#include "support/expect_error.h"
#include "support/pipeline_files.h"
#include "support/tensors.h"

namespace lora::diffusion {
namespace {

namespace fs = std::filesystem;
using lora::test::expect_error;
using lora::test::pipeline_folder;

void expect_refused(const std::vector<std::string>& parts, const std::function<void()>& call) {
  expect_error(ErrorKind::kModel, parts, call);
}

void set_key(const fs::path& file, const std::string& key, const Json& value) {
  Json json = read_json(file, ErrorKind::kData);
  json[key] = value;
  std::ofstream(file) << json.dump();
}

/// The weights of a folder in two files with an index, under these names; the whole file goes.
void shard(const fs::path& folder, const std::string& base, const std::string& middle, const std::string& index) {
  const fs::path whole = folder / (base + ".safetensors");
  const io::SafetensorsFile file(whole);
  const std::vector<std::string> names = file.names();
  Json map = Json::object();
  for (int part = 0; part < 2; ++part) {
    const std::string name = base + middle + (part == 0 ? "-00001-of-00002" : "-00002-of-00002") + ".safetensors";
    std::vector<io::NamedTensor> tensors;
    for (size_t i = static_cast<size_t>(part); i < names.size(); i += 2) {
      tensors.push_back({names[i], file.tensor(names[i])});
      map[names[i]] = name;
    }
    io::save_tensors(folder / name, tensors);
  }
  std::ofstream(folder / index) << Json{{"weight_map", map}}.dump();
  fs::remove(whole);
}

TEST(Pipeline, ReadsTheComponentsOfAFolder) {
  const Pipeline sd1({pipeline_folder("sd1")}), sd2({pipeline_folder("sd2")}), xl({pipeline_folder("sdxl")});
  EXPECT_EQ(sd1.family(), PipelineFamily::kStableDiffusion);
  EXPECT_FALSE(sd1.is_version_2());
  EXPECT_TRUE(sd2.is_version_2());
  EXPECT_EQ(xl.family(), PipelineFamily::kStableDiffusionXl);
  EXPECT_TRUE(xl.forces_zeros_for_empty_prompt());
  EXPECT_EQ(xl.text_encoders(), (std::vector<std::string>{"text_encoder", "text_encoder_2"}));
  EXPECT_TRUE(xl.has("tokenizer_2") && xl.has(kVae) && !sd1.has("tokenizer_2") && !sd1.has("safety_checker"));
  EXPECT_EQ(sd2.config(kScheduler).reader().string("prediction_type"), "v_prediction");
  PipelineOptions other{pipeline_folder("sd2")};
  other.prediction_type = "epsilon";
  EXPECT_EQ(Pipeline(other).config(kScheduler).reader().string("prediction_type"), "epsilon");
  // transformers 5.6 leaves out `text_model.`, and old autoencoders have other names for their attention.
  EXPECT_TRUE(xl.weights("text_encoder")->contains("text_model.encoder.layers.0.self_attn.q_proj.weight"));
  EXPECT_TRUE(xl.weights("text_encoder_2")->contains("text_projection.weight"));
  EXPECT_TRUE(sd1.weights(kVae)->contains("decoder.mid_block.attentions.0.to_out.0.weight"));
  EXPECT_EQ(sd1.files(kVae).size(), 2u);
  EXPECT_EQ(sd1.files(kScheduler).size(), 1u);
  EXPECT_EQ(sd1.tokenizer("tokenizer")->vocab_size(), 604);
}

TEST(Pipeline, ChoosesAmongVariantsAndReadsShards) {
  const lora::test::TemporaryFolder temporary;
  const fs::path folder = lora::test::copied_pipeline("sd1", temporary);
  const std::string expected = Pipeline({folder}).weights(kUnet)->fingerprint();
  const fs::path plain = folder / "unet" / "diffusion_pytorch_model.safetensors";
  const fs::path half = folder / "unet" / "diffusion_pytorch_model.fp16.safetensors";
  const auto of_variant = [&folder](const std::string& variant) { return Pipeline({folder, variant}).weights(kUnet); };
  fs::copy(folder / "vae" / "diffusion_pytorch_model.safetensors", half);
  EXPECT_EQ(of_variant("")->fingerprint(), expected);
  EXPECT_NE(of_variant("fp16")->fingerprint(), expected);
  fs::rename(plain, half);
  EXPECT_EQ(of_variant("")->fingerprint(), expected);  // the only one
  fs::copy(half, folder / "unet" / "diffusion_pytorch_model.non_ema.safetensors");
  expect_refused({"several variants", "fp16, non_ema", "model.variant"}, [&] { of_variant(""); });
  expect_refused({"no such variant", "fp16, non_ema", "expected bf16"}, [&] { of_variant("bf16"); });
  EXPECT_EQ(of_variant("non_ema")->fingerprint(), expected);
  fs::remove(half);
  fs::rename(folder / "unet" / "diffusion_pytorch_model.non_ema.safetensors", plain);

  fs::copy(folder, temporary / "shards", fs::copy_options::recursive);
  shard(temporary / "shards" / "unet", "diffusion_pytorch_model", "", "diffusion_pytorch_model.safetensors.index.json");
  shard(temporary / "shards" / "text_encoder", "model", ".fp16", "model.safetensors.index.fp16.json");
  const Pipeline sharded({temporary / "shards"});
  EXPECT_EQ(sharded.weights(kUnet)->fingerprint(), expected);
  EXPECT_EQ(sharded.files(kUnet).size(), 4u);  // the config, the index, two files
  EXPECT_EQ(sharded.weights("text_encoder")->fingerprint(), Pipeline({folder}).weights("text_encoder")->fingerprint());
  fs::remove(temporary / "shards" / "unet" / "diffusion_pytorch_model-00002-of-00002.safetensors");
  expect_refused({"unet/diffusion_pytorch_model-00002-of-00002.safetensors", "index.json lists it"}, [&] { sharded.weights(kUnet); });
}

TEST(Pipeline, RefusesOptionsWithoutEffect) {
  PipelineOptions options{pipeline_folder("sd2")};
  options.config = pipeline_folder("sd2") / ".";  // the same folder
  EXPECT_EQ(Pipeline(options).family(), PipelineFamily::kStableDiffusion);
  options.config = pipeline_folder("sd1");
  lora::test::expect_error(ErrorKind::kConfig, {"[model.tokenizer]", "its own tokenizers"}, [&] { Pipeline pipeline(options); });
  const lora::test::TemporaryFolder temporary;
  PipelineOptions file{lora::test::write_single_file("sd1", temporary)};
  file.variant = "fp16";
  lora::test::expect_error(ErrorKind::kConfig, {"[model.variant]", "fp16", "single file"}, [&] { Pipeline pipeline(file); });
}

TEST(Pipeline, TakesAnotherVae) {
  const lora::test::TemporaryFolder temporary;
  PipelineOptions options{pipeline_folder("sd2")};
  const std::string expected = Pipeline({pipeline_folder("sdxl")}).weights(kVae)->fingerprint();
  for (const fs::path& vae : {pipeline_folder("sdxl"), pipeline_folder("sdxl") / "vae"}) {
    options.vae = vae;
    const Pipeline pipeline(options);
    EXPECT_EQ(pipeline.weights(kVae)->fingerprint(), expected);
    EXPECT_EQ(pipeline.config(kVae).reader().number("scaling_factor", 0.0), 0.13025);
    EXPECT_EQ(pipeline.files(kVae).front(), pipeline_folder("sdxl") / "vae" / "config.json");
  }
  std::vector<io::NamedTensor> tensors;  // a file of its own, under Stability's names
  for (const io::NamedTensor& tensor : lora::test::single_file_tensors("sdxl")) {
    if (tensor.name.starts_with("first_stage_model.")) {
      tensors.push_back({tensor.name.substr(18), tensor.tensor});
    }
  }
  options.vae = temporary / "vae.safetensors";
  io::save_tensors(options.vae, tensors);
  EXPECT_EQ(Pipeline(options).weights(kVae)->fingerprint(), expected);
  EXPECT_EQ(Pipeline(options).files(kVae), std::vector<fs::path>{options.vae});
}

TEST(Pipeline, NamesTheFileThatIsWrong) {
  const lora::test::TemporaryFolder temporary;
  const fs::path folder = lora::test::copied_pipeline("sd1", temporary);
  const Pipeline pipeline({folder});
  expect_refused({"nothing at this path"}, [&] { Pipeline({folder / "none"}); });
  expect_refused({"unet] has no model_index.json"}, [&] { Pipeline({folder / "unet"}); });
  expect_refused({"model_index.json", "names no text_encoder_2"}, [&] { pipeline.config("text_encoder_2"); });
  std::ofstream(folder / "model.ckpt") << "x";
  expect_refused({"model.ckpt", ".safetensors", "can run code"}, [&] { Pipeline({folder / "model.ckpt"}); });

  const fs::path config = folder / "vae" / "config.json", weights = folder / "vae" / "diffusion_pytorch_model.safetensors";
  std::ofstream(config) << "{\"scaling_factor\": ";
  expect_refused({"vae/config.json:1:"}, [&] { pipeline.config(kVae); });
  std::ofstream(config) << "[]";
  expect_refused({"vae/config.json", "an array", "expected an object"}, [&] { pipeline.config(kVae); });
  fs::remove(config);
  expect_refused({"vae/config.json"}, [&] { pipeline.config(kVae); });
  fs::resize_file(weights, fs::file_size(weights) - 100);
  expect_refused({"vae/diffusion_pytorch_model.safetensors"}, [&] { pipeline.weights(kVae); });
  fs::remove(weights);
  expect_refused({"vae] found no weights", "diffusion_pytorch_model.safetensors"}, [&] { pipeline.weights(kVae); });
  std::ofstream(folder / "vae" / "diffusion_pytorch_model.bin") << "x";
  expect_refused({"diffusion_pytorch_model.bin", "safe_serialization=True"}, [&] { pipeline.weights(kVae); });
  fs::remove_all(folder / "vae");
  expect_refused({"vae] is missing, but model_index.json names it"}, [&] { pipeline.config(kVae); });
  fs::remove(folder / "tokenizer" / "merges.txt");
  expect_refused({"tokenizer] there is no usable tokenizer"}, [&] { pipeline.tokenizer("tokenizer"); });

  set_key(folder / "model_index.json", "_class_name", "KandinskyPipeline");
  expect_refused({"model_index.json: _class_name", "KandinskyPipeline", "StableDiffusionXLPipeline, StableDiffusion3Pipeline"},
                 [&] { Pipeline({folder}); });
}

}  // namespace
}  // namespace lora::diffusion
