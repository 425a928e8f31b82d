// Adapters of text-to-image pipelines in the files of PEFT, diffusers and kohya's tools (tests/data/diffusion/lora).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "adapters.h"
#include "lora/base/file.h"
#include "lora/peft/formats.h"
#include "lora/peft/pipeline_adapter.h"
#include "peft/unet_names.h"
#include "support/expect_error.h"
#include "support/golden_adapter.h"
#include "support/temporary_folder.h"
#include "support/tensors.h"

namespace lora::peft {
namespace {

using test::expect_equal;
using test::expect_error;
using test::kData;
using test::normal;
using test::TemporaryFolder;
using ::testing::UnorderedElementsAre;
namespace fs = std::filesystem;

const fs::path kFiles = kData / "diffusion" / "lora";

/// The adapter of PEFT's folder, with its text encoders.
Adapter pipeline_adapter(const fs::path& folder) {
  std::vector<ComponentAdapter> parts{{"unet", test::golden_adapter(folder.string())}};
  for (const char* encoder : {"text_encoder", "text_encoder_2"}) {
    if (fs::exists(folder / encoder)) {
      parts.push_back({encoder, test::golden_adapter((folder / encoder).string())});
    }
  }
  EXPECT_EQ(network_of_folder(parts.front().adapter), "unet");
  return joined(parts);
}

std::map<std::string, LowRankUpdate> by_module(const Adapter& adapter) {
  std::map<std::string, LowRankUpdate> updates;
  for (const LowRankUpdate& update : adapter.low_rank()) {
    updates.emplace(update.module, update);
  }
  return updates;
}

/// @param is_scaled whether the file knows the scales; otherwise they are 1.
void expect_same_updates(const Adapter& found, const Adapter& expected, const std::string& what, bool is_scaled = true) {
  const auto own = by_module(found), other = by_module(expected);
  ASSERT_EQ(own.size(), other.size()) << what;
  for (const auto& [module, update] : other) {
    ASSERT_EQ(own.count(module), 1U) << what << " " << module;
    const LowRankUpdate& same = own.at(module);
    expect_equal(same.A_RI, update.A_RI, what + " " + module);
    expect_equal(same.B_OR, update.B_OR, what + " " + module);
    EXPECT_EQ(same.kernel, update.kernel) << what << " " << module;
    EXPECT_NEAR(same.scale, is_scaled ? update.scale : 1, 1e-6 * update.scale) << what << " " << module;
    ASSERT_EQ(same.magnitude_O.has_value(), update.magnitude_O.has_value()) << what << " " << module;
    if (update.magnitude_O) {
      expect_equal(*same.magnitude_O, *update.magnitude_O, what + " " + module);
    }
  }
}

Adapter read_file(const fs::path& file, AdapterFormat expected) {
  EXPECT_EQ(detect_adapter_format(file), expected) << file;
  EXPECT_TRUE(is_pipeline_file(file));
  return read_foreign_adapter(expected, file, {});
}

TEST(PipelineFiles, OfDiffusersAndKohyaAreReadInEveryStyle) {
  for (const std::string family : {"sd1", "sd2", "sdxl", "sd1_dora"}) {
    const Adapter expected = pipeline_adapter(kFiles / family / "peft");
    expect_same_updates(read_file(kFiles / family / "diffusers.safetensors", AdapterFormat::kDiffusers), expected, family + " diffusers");
    const Adapter kohya = read_file(kFiles / family / "kohya.safetensors", AdapterFormat::kKohya);
    expect_same_updates(kohya, expected, family + " kohya");
    EXPECT_EQ(kohya.options.use_dora, family == "sd1_dora");
  }
  // Older versions: no metadata, so that the scale is 1; the oldest have only attention, and no component in the names.
  const Adapter expected = pipeline_adapter(kFiles / "sd1" / "peft");
  expect_same_updates(read_file(kFiles / "sd1" / "script.safetensors", AdapterFormat::kDiffusers), expected, "script", /*is_scaled=*/false);
  const Adapter old = read_file(kFiles / "sd1" / "processors.safetensors", AdapterFormat::kDiffusers);
  Adapter attention = expected;
  std::erase_if(attention.updates, [](const AdapterUpdate& update) { return module_of(update).find(".attn") == std::string::npos; });
  EXPECT_EQ(attention.updates.size(), 4U);
  expect_same_updates(old, attention, "processors", /*is_scaled=*/false);
}

void expect_same_file(const fs::path& found, const fs::path& expected) {
  const io::SafetensorsFile own(found), other(expected);
  EXPECT_EQ(own.names(), other.names());
  for (const std::string& name : other.names()) {
    expect_equal(own.tensor(name), other.tensor(name), name);
  }
  EXPECT_EQ(own.metadata(), other.metadata());
}

/// What tells the families apart where the modules do not.
BaseFacts facts_of(const std::string& family) {
  return {"base", read_json(kData / "diffusion" / family / "model/unet/config.json", ErrorKind::kData), {}};
}

TEST(PipelineFiles, AreWrittenAsKohyaWritesThem) {
  const TemporaryFolder folder;
  const WriteOptions half{at::kHalf, "lora_unet", false};
  for (const std::string family : {"sd1", "sd2", "sdxl", "sd1_dora"}) {
    BaseFacts base = facts_of(family.substr(0, family.find('_')));
    base.config["prediction_type"] = family == "sd2" ? "v_prediction" : "epsilon";
    const Adapter adapter = pipeline_adapter(kFiles / family / "peft");
    write_foreign_adapter(AdapterFormat::kKohya, folder / "kohya.safetensors", adapter, base, half);
    expect_same_file(folder / "kohya.safetensors", kFiles / family / "kohya.safetensors");
    if (family != "sd2") {  // the modules tell the family
      write_foreign_adapter(AdapterFormat::kKohya, folder / "kohya.safetensors", adapter, {}, half);
      expect_same_file(folder / "kohya.safetensors", kFiles / family / "kohya.safetensors");
    }
  }
}

TEST(PipelineFiles, AreWrittenAsDiffusersAndPeftLoadThem) {
  const TemporaryFolder folder;
  const fs::path file = folder / "pytorch_lora_weights.safetensors";
  for (const std::string family : {"sd1", "sdxl", "sd1_dora"}) {
    const Adapter adapter = pipeline_adapter(kFiles / family / "peft");
    write_foreign_adapter(AdapterFormat::kDiffusers, file, adapter, {}, {at::kHalf, "lora_unet", false});
    const io::SafetensorsFile own(file), other(kFiles / family / "diffusers.safetensors");
    EXPECT_EQ(own.names(), other.names());
    for (const std::string& name : other.names()) {
      expect_equal(own.tensor(name), other.tensor(name), name);
    }
    const Json metadata = Json::parse(own.metadata().at("lora_adapter_metadata"));
    const Json theirs = Json::parse(other.metadata().at("lora_adapter_metadata"));
    for (const auto& [key, value] : metadata.items()) {
      ASSERT_TRUE(theirs.contains(key)) << key;  // older versions of PEFT refuse unknown ones
      const bool is_named_otherwise = key.ends_with("target_modules") || key.ends_with("_pattern") || key.ends_with("lora_alpha") ||
                                      key.ends_with("use_rslora");  // other options of the same scale
      EXPECT_TRUE(is_named_otherwise || value == theirs[key]) << key << " " << value << " " << theirs[key];
    }
    EXPECT_FALSE(metadata["unet.target_modules"].empty());
    expect_same_updates(read_file(file, AdapterFormat::kDiffusers), adapter, family);
    // Back to PEFT's folders.
    const TemporaryFolder peft;
    write_foreign_adapter(AdapterFormat::kPeft, peft.path(), read_file(kFiles / family / "kohya.safetensors", AdapterFormat::kKohya), {},
                          {});
    expect_same_updates(pipeline_adapter(peft.path()), adapter, family);
    EXPECT_EQ(read_json(peft / "adapter_config.json", ErrorKind::kData)["task_type"], nullptr);
  }
}

LowRankUpdate linear(const std::string& module, int64_t inputs = 4, int64_t outputs = 6) {
  LowRankUpdate update;
  update.module = module;
  EXPECT_TRUE(set_pair(update, {normal({2, inputs}, 1, at::kFloat), normal({outputs, 2}, 2, at::kFloat)}));
  update.alpha = 2;
  return update;
}

Adapter pipeline_adapter_of(std::vector<std::string> modules) {
  Adapter adapter;
  adapter.weights_file = "file";
  for (const std::string& module : modules) {
    adapter.updates.emplace_back(linear(module));
  }
  return adapter;
}

TEST(PipelineFiles, NameEveryLinearModuleAndConvolution) {
  const TemporaryFolder folder;
  const fs::path file = folder / "kohya.safetensors";
  for (const std::string family : {"sd1", "sdxl"}) {
    const Json names = read_json(kFiles / family / "names.json", ErrorKind::kData);
    Adapter adapter;
    std::set<std::string> expected;
    for (const auto& [module, name] : names.items()) {
      adapter.updates.emplace_back(linear("unet." + module));
      expected.insert(name);
    }
    write_foreign_adapter(AdapterFormat::kKohya, file, adapter, facts_of(family), {});
    std::set<std::string> found;
    for (const std::string& key : io::SafetensorsFile(file).names()) {
      found.insert(key.substr(0, key.find('.')));
    }
    EXPECT_EQ(found, expected) << family;
    expect_same_updates(read_file(file, AdapterFormat::kKohya), adapter, family);
  }
  // Names with underscores are those of one module.
  std::set<std::string> all;
  size_t count = 0;
  for (const std::string& module : unet_modules()) {
    for (std::string name : {module, original_unet_name(module)}) {
      std::replace(name.begin(), name.end(), '.', '_');
      count += name.empty() ? 0 : 1;
      all.insert(name);
    }
  }
  all.erase("");
  EXPECT_EQ(all.size(), count);
  EXPECT_EQ(original_unet_name("down_blocks.1.resnets.2.conv1"), "");  // two layers per block
}

TEST(PipelineFiles, WithWhatIsNotUnderstoodAreRefused) {
  const TemporaryFolder folder;
  const fs::path file = folder / "x.safetensors";
  const Tensor a = normal({2, 4}, 1, at::kFloat), b = normal({6, 2}, 2, at::kFloat);
  const auto fails = [&](const std::vector<io::NamedTensor>& tensors, const std::vector<std::string>& parts,
                         const std::map<std::string, std::string>& metadata = {{"format", "pt"}}) {
    io::save_tensors(file, tensors, metadata);
    expect_error(ErrorKind::kModel, parts, [&] { read_foreign_adapter(detect_adapter_format(file), file, {}); });
  };
  const std::string kohya = "lora_unet_mid_block_resnets_0_conv1", unet = "unet.mid_block.resnets.0.conv1";
  const std::vector<io::NamedTensor> pair{{kohya + ".lora_down.weight", a}, {kohya + ".lora_up.weight", b}};
  const auto pair_and = [&pair](const std::string& name, const Tensor& tensor) {
    std::vector<io::NamedTensor> all = pair;
    all.push_back({name, tensor});
    return all;
  };
  fails({pair[0]}, {"unet.mid_block.resnets.0.conv1", "one half", "B (up)"});
  fails(pair_and(kohya + ".lora_mid.weight", a), {"1 tensor with unknown names", "lora_mid", "another method"});
  fails(pair_and("lora_unet_double_blocks_0_img_qkv.lora_down.weight", a), {"double_blocks_0", "UNet, a transformer or a CLIP"});
  fails(pair_and(kohya + ".alpha", at::zeros({})), {"alpha", "above 0"});
  fails(pair_and(kohya + ".dora_scale", at::ones({1, 4})), {"magnitude", "[1, 4]", "6 values", "LyCORIS"});
  fails({pair[0], {kohya + ".lora_up.weight", b.unsqueeze(-1)}}, {"do not match", "[2, 4]", "[6, 2, 1]"});
  fails({pair[0], {kohya + ".lora_up.weight", at::full_like(b, INFINITY)}}, {"not finite"});
  fails({{kohya + ".lora_down.weight", a}, {"lora_unet_middle_block_0_in_layers_2.lora_down.weight", a}},
        {"same module", "middle_block_0"});

  const std::vector<io::NamedTensor> named{{unet + ".lora_A.weight", a}, {unet + ".lora_B.weight", b}};
  const auto metadata = [](const std::string& json) { return std::map<std::string, std::string>{{"lora_adapter_metadata", json}}; };
  fails(named, {"lora_adapter_metadata:1:"}, metadata("{\"unet.r\": "));
  fails(named, {"lora_adapter_metadata", "an array", "an object"}, metadata("[]"));
  fails(named, {"lora_adapter_metadata.unet", "another rank", "found 3", "expected 2"}, metadata(R"({"unet.r": 3})"));
  fails(named, {"init_lora_weights", "pissa"}, metadata(R"({"unet.r": 2, "unet.init_lora_weights": "pissa_niter_4"})"));
  fails(named, {"lora_alpha", "a string"}, metadata(R"({"unet.r": 2, "unet.lora_alpha": "x"})"));
  fails({named[0], named[1], {"vae.conv.lora_A.weight", a}}, {"1 tensor with unknown names", "vae.conv.lora_A.weight"});

  const auto refuses = [&](AdapterFormat format, const Adapter& adapter, const std::vector<std::string>& parts) {
    expect_error(ErrorKind::kModel, parts, [&] { write_foreign_adapter(format, folder / "out", adapter, {}, {}); });
    EXPECT_FALSE(fs::exists(folder / "out"));
  };
  refuses(AdapterFormat::kKohya, pipeline_adapter_of({"unet.mid_block.resnets.0.conv1"}), {"do not show", "--model"});
  refuses(AdapterFormat::kKohya, pipeline_adapter_of({"unet.add_embedding.linear_1", "unet.down_blocks.1.resnets.2.conv1"}),
          {"SDXL's UNet does not have", "down_blocks.1.resnets.2.conv1"});
  refuses(AdapterFormat::kKohya, pipeline_adapter_of({"unet.down_blocks.0.attentions.0.proj_in", "unet.class_embedding.linear_1"}),
          {"kohya's format", "unet.class_embedding.linear_1", "--drop-unsupported"});
  refuses(AdapterFormat::kGguf, pipeline_adapter_of({"unet.conv_in"}), {"GGUF", "language models", "text-to-image pipeline", "diffusers"});
  refuses(AdapterFormat::kDiffusers, pipeline_adapter_of({"model.layers.0.mlp.up_proj"}), {"diffusers", "text-to-image pipelines", "mlx"});
  Adapter mixed = pipeline_adapter_of({"unet.conv_in", "unet.conv_out"});
  test::pair_of(mixed).magnitude_O = at::ones({6});
  refuses(AdapterFormat::kDiffusers, mixed, {"only some modules have a magnitude", "unet.conv_in", "unet.conv_out"});
}

TEST(PipelineAdapter, IsRecognisedByItsModules) {
  EXPECT_EQ(component_of("unet.conv_in"), "unet");
  EXPECT_EQ(component_of("text_encoder_2.text_projection"), "text_encoder_2");
  EXPECT_EQ(component_of("transformer.transformer_blocks.0.attn.to_q"), "transformer");
  EXPECT_EQ(component_of("transformer.context_embedder.weight"), "transformer");
  EXPECT_EQ(component_of("transformer.x_embedder"), "transformer");
  for (const char* other : {"transformer.h.0.attn.c_attn", "model.layers.0.mlp.up_proj", "unet", "unet_x.y", ""}) {
    EXPECT_EQ(component_of(other), "") << other;
  }
  EXPECT_EQ(pipeline_name("text_encoder", "encoder.layers.0.mlp.fc1"), "text_encoder.text_model.encoder.layers.0.mlp.fc1");
  EXPECT_EQ(pipeline_name("text_encoder_2", "text_projection"), "text_encoder_2.text_projection");
  EXPECT_EQ(pipeline_name("text_encoder_3", "encoder.block.0.layer.0"), "text_encoder_3.encoder.block.0.layer.0");  // T5
  const auto family = [](const std::string& module, int64_t inputs = 4) {
    Adapter adapter;
    adapter.updates = {linear(module, inputs)};
    return pipeline_family(adapter);
  };
  EXPECT_EQ(family("unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k", 768), "Stable Diffusion 1");
  EXPECT_EQ(family("unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_v", 1024), "Stable Diffusion 2");
  EXPECT_EQ(family("unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k", 2048), "Stable Diffusion XL");
  EXPECT_EQ(family("unet.mid_block.attentions.0.transformer_blocks.9.attn1.to_q"), "Stable Diffusion XL");
  EXPECT_EQ(family("unet.up_blocks.3.attentions.0.transformer_blocks.0.attn1.to_q"), "Stable Diffusion 1");
  EXPECT_EQ(family("unet.up_blocks.3.attentions.0.proj_in"), "Stable Diffusion 2");  // a matrix
  EXPECT_EQ(family("unet.down_blocks.1.resnets.0.conv1"), "");
  EXPECT_EQ(family("transformer.single_transformer_blocks.3.proj_mlp"), "FLUX.1");
  EXPECT_EQ(family("transformer.transformer_blocks.3.attn.to_q", 3072), "FLUX.1");
  EXPECT_EQ(family("transformer.transformer_blocks.3.attn.add_q_proj", 2432), "Stable Diffusion 3");
  EXPECT_EQ(family("transformer.transformer_blocks.3.attn2.to_q"), "Stable Diffusion 3");
  EXPECT_EQ(family("transformer.transformer_blocks.3.attn.to_q"), "");
  EXPECT_EQ(divided(pipeline_adapter_of({"unet.conv_in", "text_encoder.text_model.encoder.layers.0.mlp.fc1"})).size(), 2U);
  EXPECT_EQ(component_folder("out", "text_encoder_2"), fs::path("out/text_encoder_2"));
  EXPECT_EQ(component_folder("out", "unet"), fs::path("out"));
}

}  // namespace
}  // namespace lora::peft
