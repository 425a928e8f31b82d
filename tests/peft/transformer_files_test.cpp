// kohya's files of FLUX.1's and Stable Diffusion 3's transformers, which have one pair where diffusers has several modules
// (tests/data/diffusion/lora/{flux,sd3}, scripts/golden/diffusion_transformer_lora.py).
#include <gtest/gtest.h>

#include <set>

#include "adapters.h"
#include "lora/peft/formats.h"
#include "lora/peft/pipeline_adapter.h"
#include "peft/transformer_names.h"
#include "support/expect_error.h"
#include "support/paths.h"
#include "support/temporary_folder.h"
#include "support/tensors.h"

namespace lora::peft {
namespace {

using test::expect_close;
using test::expect_equal;
using test::expect_error;
using test::normal;
using test::TemporaryFolder;
namespace fs = std::filesystem;

const fs::path kTransformerFiles = test::kData / "diffusion" / "lora";
/// Those whose parts share their A, which lora-train writes as parts of their own.
const std::set<std::string> kSharedPairs{"lora_unet_double_blocks_0_txt_attn_qkv", "lora_unet_single_blocks_0_linear1",
                                         "lora_unet_joint_blocks_0_context_block_attn_qkv"};

Adapter read_kohya_of(const fs::path& file) {
  EXPECT_EQ(detect_adapter_format(file), AdapterFormat::kKohya);
  EXPECT_TRUE(is_pipeline_file(file));
  return read_foreign_adapter(AdapterFormat::kKohya, file, {});
}

Tensor change_of(const LowRankUpdate& update) {
  return update.scale * update.B_OR.flatten(1).matmul(update.A_RI.flatten(1));
}

/// The changes of diffusers' weights, each within float32's rounding.
void expect_changes(const Adapter& adapter, const fs::path& file, const std::string& what) {
  const io::SafetensorsFile expected(file);
  std::set<std::string> modules;
  for (const LowRankUpdate& update : adapter.low_rank()) {
    const std::string module = update.module.substr(std::string("transformer.").size());
    modules.insert(module);
    expect_close(change_of(update), expected.tensor(module).flatten(1), 1e-6, what + " " + module);
  }
  const std::vector<std::string> names = expected.names();
  EXPECT_EQ(modules, std::set<std::string>(names.begin(), names.end())) << what;
}

BaseFacts transformer_base(const std::string& family) {
  const Json config = family == "flux" ? Json{{"_class_name", "FluxTransformer2DModel"}, {"guidance_embeds", true}}
                                       : Json{{"_class_name", "SD3Transformer2DModel"},
                                              {"qk_norm", "rms_norm"},
                                              {"dual_attention_layers", {0}}};
  return {"base", config, {}};
}

TEST(TransformerFiles, OfKohyaAreReadAndWrittenAsSdScriptsDoes) {
  const TemporaryFolder folder;
  const fs::path file = folder / "kohya.safetensors";
  for (const std::string family : {"flux", "sd3"}) {
    const fs::path golden = kTransformerFiles / family / "kohya.safetensors";
    const Adapter adapter = read_kohya_of(golden);
    expect_changes(adapter, kTransformerFiles / family / "changes.safetensors", family);
    for (const LowRankUpdate& update : adapter.low_rank()) {
      EXPECT_EQ(update.rank(), 2) << update.module;  // each part has its own columns
    }
    write_foreign_adapter(AdapterFormat::kKohya, file, adapter, transformer_base(family), {at::kHalf, "lora_unet", false});
    const io::SafetensorsFile own(file), theirs(golden);
    EXPECT_EQ(own.names(), theirs.names());
    for (const std::string& name : theirs.names()) {
      if (kSharedPairs.count(name.substr(0, name.find('.'))) == 0) {
        expect_equal(own.tensor(name), theirs.tensor(name), name);
      }
    }
    for (const auto& [key, value] : theirs.metadata()) {
      if (!key.starts_with("sshs_")) {
        EXPECT_EQ(own.metadata().count(key) == 0 ? "none" : own.metadata().at(key), value) << key;
      }
    }
    expect_changes(read_kohya_of(file), kTransformerFiles / family / "changes.safetensors", family + " again");
  }
}

LowRankUpdate of_module(const std::string& module, int64_t inputs, int64_t outputs, int64_t rank, double scale) {
  LowRankUpdate update;
  update.module = "transformer." + module;
  EXPECT_TRUE(set_pair(update, {normal({rank, inputs}, 1, at::kFloat), normal({outputs, rank}, 2, at::kFloat)}));
  update.alpha = scale * static_cast<double>(rank);
  update.scale = scale;
  return update;
}

TEST(TransformerFiles, PartsOfAProjectionMayBeMissingOrDiffer) {
  const TemporaryFolder folder;
  const fs::path file = folder / "kohya.safetensors";
  Adapter adapter;
  adapter.weights_file = "file";
  const std::string block = "single_transformer_blocks.3.";
  adapter.updates = {of_module(block + "attn.to_v", 4, 4, 3, 0.5), of_module(block + "proj_mlp", 4, 16, 2, 0.25),
                     of_module("transformer_blocks.1.attn.to_k", 4, 4, 2, 1)};
  std::get<LowRankUpdate>(adapter.updates[2]).B_OR.zero_();  // untrained
  write_foreign_adapter(AdapterFormat::kKohya, file, adapter, {}, {at::kFloat, "lora_unet", false});
  const io::SafetensorsFile stored(file);
  EXPECT_EQ(stored.tensor("lora_unet_single_blocks_3_linear1.lora_up.weight").sizes(), (std::vector<int64_t>{28, 12}));
  EXPECT_EQ(stored.metadata().at("modelspec.architecture"), "flux-1/lora");
  const Adapter again = read_kohya_of(file);
  std::map<std::string, LowRankUpdate> found;
  for (const LowRankUpdate& update : again.low_rank()) {
    found.emplace(update.module, update);
  }
  for (const LowRankUpdate& update : adapter.low_rank()) {
    ASSERT_EQ(found.count(update.module), 1U) << update.module;
    expect_close(change_of(found.at(update.module)), change_of(update), 1e-6, update.module);
    EXPECT_EQ(found.at(update.module).rank(), update.rank()) << update.module;
  }
  EXPECT_EQ(found.size(), 2U + 3U);  // all parts of the one that is zero
}

TEST(TransformerFiles, WithOtherShapesAreRefused) {
  const TemporaryFolder folder;
  const fs::path file = folder / "x.safetensors";
  const auto fails = [&](int64_t outputs, const std::vector<io::NamedTensor>& more, const std::vector<std::string>& parts) {
    const std::string name = "lora_unet_double_blocks_0_img_attn_qkv";
    std::vector<io::NamedTensor> tensors{{name + ".lora_down.weight", at::ones({2, 4})},
                                         {name + ".lora_up.weight", at::ones({outputs, 2})}};
    tensors.insert(tensors.end(), more.begin(), more.end());
    io::save_tensors(file, tensors, {});
    expect_error(ErrorKind::kModel, parts, [&] { read_foreign_adapter(AdapterFormat::kKohya, file, {}); });
  };
  fails(11, {}, {"double_blocks.0.img_attn.qkv", "11 outputs for 4 inputs", "expected 12"});
  fails(12, {{"lora_unet_double_blocks_0_img_attn_qkv.dora_scale", at::ones({12, 1})}}, {"DoRA", "not supported"});
  const auto refuses = [&](const std::string& module, bool has_magnitude, const std::vector<std::string>& parts) {
    Adapter adapter;
    adapter.weights_file = "file";
    LowRankUpdate update = of_module(module, 4, 5, 2, 1);
    if (has_magnitude) {
      update.magnitude_O = at::ones({5});
    }
    adapter.updates = {update};
    expect_error(ErrorKind::kModel, parts, [&] { write_foreign_adapter(AdapterFormat::kKohya, folder / "out", adapter, {}, {}); });
    EXPECT_FALSE(fs::exists(folder / "out"));
  };
  refuses("single_transformer_blocks.0.attn.to_q", false, {"5 outputs for 4 inputs", "expected 4"});
  refuses("single_transformer_blocks.0.attn.to_q", true, {"DoRA", "--bake"});
  refuses("single_transformer_blocks.0.attn.to_z", false, {"no name here", "to_z"});
  refuses("transformer_blocks.0.attn.to_q", false, {"do not show", "FLUX.1", "--model"});
  refuses("transformer_blocks.0.attn2.to_q", false, {"which Stable Diffusion 3", "--model"});
}

}  // namespace
}  // namespace lora::peft
