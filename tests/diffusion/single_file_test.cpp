#include "lora/diffusion/pipeline.h"
#include "support/expect_error.h"
#include "support/pipeline_files.h"
#include "support/tensors.h"

namespace lora::diffusion {
namespace {

namespace fs = std::filesystem;
using lora::test::expect_error;
using lora::test::pipeline_folder;

/// The names are those of diffusers and the numbers those of the folder, in every component.
TEST(SingleFile, GivesTheTensorsOfTheFolder) {
  const lora::test::TemporaryFolder temporary;
  for (const std::string family : {"sd1", "sd2", "sdxl"}) {
    const Pipeline folder({pipeline_folder(family)});
    PipelineOptions options{lora::test::write_single_file(family, temporary)};
    options.config = pipeline_folder(family);
    const Pipeline single(options);
    EXPECT_TRUE(single.is_single_file());
    EXPECT_EQ(single.family(), folder.family());
    EXPECT_EQ(single.is_version_2(), folder.is_version_2());
    std::vector<std::string> components = folder.text_encoders();
    components.insert(components.end(), {kUnet, kVae});
    for (const std::string& component : components) {
      const std::unique_ptr<io::Checkpoint> expected = folder.weights(component), found = single.weights(component);
      std::vector<std::string> names = found->names(), all = expected->names();
      std::sort(names.begin(), names.end());
      std::sort(all.begin(), all.end());
      ASSERT_EQ(names, all) << family << " " << component;
      for (const std::string& name : all) {
        EXPECT_EQ(found->facts(name).shape, expected->facts(name).shape) << name;
        EXPECT_EQ(found->facts(name).bytes, expected->facts(name).bytes) << name;
        lora::test::expect_equal(found->tensor(name), expected->tensor(name), family + " " + component + " " + name);
      }
      EXPECT_EQ(found->fingerprint(), expected->fingerprint());
      EXPECT_EQ(single.config(component).json, folder.config(component).json);
      EXPECT_EQ(single.files(component).back(), options.path);
    }
    EXPECT_EQ(single.tokenizer("tokenizer")->files(), folder.tokenizer("tokenizer")->files());
  }
}

TEST(SingleFile, HasTheConfigsOfItsFamily) {
  const lora::test::TemporaryFolder temporary;
  const Pipeline sd1({lora::test::write_single_file("sd1", temporary)}), xl({lora::test::write_single_file("sdxl", temporary)});
  EXPECT_EQ(sd1.config(kUnet).json.at("attention_head_dim"), 8);
  EXPECT_EQ(sd1.config(kScheduler).json.at("prediction_type"), "epsilon");
  EXPECT_EQ(sd1.config(kVae).json.at("scaling_factor"), 0.18215);
  EXPECT_EQ(xl.config(kUnet).json.at("transformer_layers_per_block"), (Json{1, 2, 10}));
  EXPECT_EQ(xl.config("text_encoder_2").json.at("hidden_size"), 1280);
  EXPECT_EQ(xl.config(kVae).json.at("scaling_factor"), 0.13025);
  expect_error(ErrorKind::kModel, {"sd1.safetensors", "no tokenizer", "model.tokenizer"}, [&] { sd1.tokenizer("tokenizer"); });
  expect_error(ErrorKind::kModel, {"sd1.safetensors", "has no text_encoder_2"}, [&] { sd1.weights("text_encoder_2"); });
  EXPECT_FALSE(sd1.has("tokenizer") || sd1.has("text_encoder_2"));

  PipelineOptions other{sd1.path()};
  other.config = pipeline_folder("sdxl");
  expect_error(ErrorKind::kModel, {"sdxl/model", "another family"}, [&] { const Pipeline opened(other); });
  other.config = temporary / "none";
  expect_error(ErrorKind::kModel, {"none] there is no such folder"}, [&] { const Pipeline opened(other); });

  // Version 2 does not say what it predicts, unless its metadata or the config does.
  const fs::path path = lora::test::write_single_file("sd2", temporary);
  expect_error(ErrorKind::kModel, {"sd2.safetensors", "epsilon", "v_prediction", "model.prediction_type"},
               [&] { Pipeline({path}).config(kScheduler); });
  PipelineOptions options{path};
  options.prediction_type = "v_prediction";
  EXPECT_EQ(Pipeline(options).config(kScheduler).json.at("prediction_type"), "v_prediction");
  lora::test::write_single_file("sd2", temporary, {{"modelspec.prediction_type", "v"}});
  EXPECT_EQ(Pipeline({path}).config(kScheduler).json.at("prediction_type"), "v_prediction");
}

/// Writes the file of sd1 after a change, and opens it.
void open_changed(const lora::test::TemporaryFolder& folder, const std::function<void(std::vector<io::NamedTensor>&)>& change) {
  std::vector<io::NamedTensor> tensors = lora::test::single_file_tensors("sd1");
  change(tensors);
  io::save_tensors(folder / "changed.safetensors", tensors);
  const Pipeline pipeline({folder / "changed.safetensors"});
  pipeline.weights(kUnet);
  pipeline.weights(kVae);
}

TEST(SingleFile, RefusesOtherModelsByWhatTheyAre) {
  const lora::test::TemporaryFolder folder;
  const auto refused = [&folder](const std::vector<std::string>& parts, const std::function<void(std::vector<io::NamedTensor>&)>& change) {
    expect_error(ErrorKind::kModel, parts, [&] { open_changed(folder, change); });
  };
  const auto with = [](const std::string& name) {
    return [name](std::vector<io::NamedTensor>& tensors) { tensors.push_back({name, at::zeros({2, 2})}); };
  };
  const auto only = [](const std::string& name) {
    return [name](std::vector<io::NamedTensor>& tensors) { tensors = {{name, at::zeros({2, 2})}}; };
  };
  open_changed(folder, [](auto&) {});
  refused({"changed.safetensors", "SDXL's refiner"}, with("conditioner.embedders.0.model.ln_final.weight"));
  refused({"Playground"}, with("edm_mean"));
  refused({"neither"}, with("model.diffusion_model.label_emb.0.0.weight"));
  refused({"an adapter"}, only("lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight"));
  refused({"a FLUX transformer"}, only("double_blocks.0.img_attn.qkv.weight"));
  refused({"Stable Diffusion 3"}, only("model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight"));
  refused({"a component of a pipeline in diffusers' layout"}, only("down_blocks.0.resnets.0.conv1.weight"));
  refused({"another model (model.embed_tokens.weight)"}, only("model.embed_tokens.weight"));
  refused({"input_blocks.0.0.weight", "[8, 9, 3, 3]", "4 input channels"}, [](std::vector<io::NamedTensor>& tensors) {
    for (io::NamedTensor& tensor : tensors) {
      tensor.tensor = tensor.name.ends_with("input_blocks.0.0.weight") ? at::zeros({8, 9, 3, 3}) : tensor.tensor;
    }
  });
  refused({"first_stage_model.encoder.norm_out.bias", "so is"}, with("first_stage_model.encoder.conv_norm_out.bias"));
}

TEST(SingleFile, DamagedFilesAreErrors) {
  const lora::test::TemporaryFolder folder;
  std::vector<io::NamedTensor> tensors = lora::test::single_file_tensors("sd2");
  for (io::NamedTensor& tensor : tensors) {
    tensor.tensor = tensor.name.ends_with("resblocks.1.attn.in_proj_bias") ? at::zeros({}, at::kBFloat16) : tensor.tensor;
  }
  io::save_tensors(folder / "scalar.safetensors", tensors);
  expect_error(ErrorKind::kModel, {"scalar.safetensors", "resblocks.1.attn.in_proj_bias", "found shape []"},
               [&] { Pipeline({folder / "scalar.safetensors"}).weights("text_encoder"); });
  const fs::path path = lora::test::write_single_file("sd1", folder);
  fs::resize_file(path, fs::file_size(path) / 2);
  expect_error(ErrorKind::kModel, {"sd1.safetensors"}, [&] { Pipeline({path}); });
  fs::resize_file(path, 0);
  expect_error(ErrorKind::kModel, {"sd1.safetensors"}, [&] { Pipeline({path}); });
}

}  // namespace
}  // namespace lora::diffusion
