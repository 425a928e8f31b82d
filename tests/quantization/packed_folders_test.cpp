// Folders of packed weights that other tools wrote: the values are those that the tools themselves decode.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "lora/base/file.h"
#include "lora/io/tensors.h"
#include "lora/quantization/mxfp4.h"
#include "lora/quantization/packed_checkpoint.h"
#include "support/expect_error.h"
#include "support/paths.h"
#include "support/temporary_folder.h"

namespace lora::quantization {
namespace {

using lora::test::expect_error;

fs::path quantized_folder(const std::string& name) {
  return fs::path(lora::test::data_folder()) / "quantized" / name;
}

std::unique_ptr<io::Checkpoint> open_packed(const fs::path& folder, bool inputs_first = false) {
  const Json config = read_json(folder / "config.json", ErrorKind::kModel);
  const JsonReader reader(config, "config.json", ErrorKind::kModel);
  return packed_checkpoint(std::make_unique<io::SafetensorsCheckpoint>(folder), reader.object("quantization_config"),
                           [inputs_first](const std::string&) { return inputs_first; });
}

void expect_same(const at::Tensor& found, const at::Tensor& expected, const std::string& what) {
  ASSERT_EQ(found.sizes(), expected.sizes()) << what;
  EXPECT_TRUE(found.equal(expected)) << what << ": largest difference "
                                     << (found.to(at::kDouble) - expected.to(at::kDouble)).abs().max().item<double>();
}

class PackedFolders : public testing::TestWithParam<const char*> {};

TEST_P(PackedFolders, HaveTheValuesOfTheToolThatWroteThem) {
  const fs::path folder = quantized_folder(GetParam());
  const std::unique_ptr<io::Checkpoint> checkpoint = open_packed(folder, std::string(GetParam()).find("gpt2") != std::string::npos);
  const io::SafetensorsFile expected(folder / "expected.safetensors");
  int64_t compared = 0;
  for (const std::string& name : expected.names()) {
    if (!name.ends_with(".weight")) {
      continue;
    }
    ++compared;
    const io::StoredWeight stored = checkpoint->stored(name);
    const at::Tensor values = expected.tensor(name).to(at::kFloat);
    if (stored.packed == nullptr) {  // HQQ with groups of 64 in rows of 96
      EXPECT_FALSE(checkpoint->facts(name).is_packed);
      EXPECT_EQ(checkpoint->notes().size(), 1U);
      expect_same(stored.tensor.to(at::kFloat), values, name);
      continue;
    }
    expect_same(decoded(*stored.packed, stored.packed->value_dtype()).to(at::kFloat), values, name);
    const int64_t rows = values.size(0), columns = values.size(1);
    const io::Tile tile{rows / 3, rows - 1, 3, columns - 2};
    for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16, at::kHalf}) {
      expect_same(stored.packed->decoded(tile, dtype),
                  values.slice(0, tile.row_begin, tile.row_end).slice(1, tile.column_begin, tile.column_end).to(dtype), name);
    }
    const io::TensorFacts facts = checkpoint->facts(name);
    EXPECT_TRUE(facts.is_packed);
    EXPECT_EQ(facts.dtype, stored.packed->value_dtype());
    EXPECT_EQ(facts.stored_as, stored.packed->format());
    EXPECT_EQ(facts.shape, checkpoint->tensor(name).sizes().vec());
  }
  EXPECT_GT(compared, 0);
  for (const std::string& name : checkpoint->names()) {
    EXPECT_TRUE(name.ends_with(".weight") || name.ends_with(".bias")) << name << " is a part of a packed weight";
  }
}

INSTANTIATE_TEST_SUITE_P(All, PackedFolders,
                         testing::Values("gptq/2bit", "gptq/3bit", "gptq/4bit", "gptq/8bit", "gptq/desc_act", "gptq/v2",
                                         "awq/gemm", "compressed_tensors/pack_quantized", "compressed_tensors/actorder",
                                         "compressed_tensors/int_quantized", "compressed_tensors/float_quantized", "fp8/blocks128",
                                         "fp8/ue8m0", "hqq/4bit", "bitsandbytes_models/nf4", "bitsandbytes_models/nf4_dq",
                                         "bitsandbytes_models/fp4", "bitsandbytes_models/int8", "bitsandbytes_models/gpt2"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '/', '_');
                           return name;
                         });

TEST(Mxfp4, HasTheValuesOfTransformers) {
  const io::SafetensorsFile file(quantized_folder("mxfp4") / "blocks.safetensors");
  const io::SafetensorsFile expected(quantized_folder("mxfp4") / "expected.safetensors");
  for (const std::string name : {"model.layers.0.mlp.experts.down_proj", "model.layers.0.mlp.experts.gate_up_proj"}) {
    const at::Tensor blocks = file.tensor(name + "_blocks"), scales = file.tensor(name + "_scales");
    for (int64_t expert = 0; expert < blocks.size(0); ++expert) {
      const auto matrix = mxfp4_matrix(blocks[expert], scales[expert], name);
      // transformers turns each expert's matrix to [in, out].
      expect_same(decoded(*matrix, at::kBFloat16), expected.tensor(name + ".bfloat16")[expert].t(), name);
      expect_same(decoded(*matrix, at::kFloat), expected.tensor(name)[expert].t(), name);
    }
    expect_error(ErrorKind::kModel, {name, "[rows, groups, 16]"}, [&] { mxfp4_matrix(blocks[0], scales[0].slice(0, 1), name); });
    expect_error(ErrorKind::kModel, {name, "255"}, [&] { mxfp4_matrix(blocks[0], at::full_like(scales[0], 255), name); });
  }
}

/// A copy of a folder with other keys in its quantization_config and, by their names, other tensors; undefined: without that tensor.
class ChangedFolder {
 public:
  explicit ChangedFolder(const std::string& name) : config_(read_json(quantized_folder(name) / "config.json", ErrorKind::kModel)) {
    const io::SafetensorsFile file(quantized_folder(name) / "model.safetensors");
    for (const std::string& tensor : file.names()) {
      tensors_[tensor] = file.tensor(tensor).clone();
    }
  }
  Json& section() { return config_["quantization_config"]; }
  at::Tensor& tensor(const std::string& name) { return tensors_.at(name); }
  std::unique_ptr<io::Checkpoint> open() const {
    std::vector<io::NamedTensor> kept;
    for (const auto& [name, tensor] : tensors_) {
      if (tensor.defined()) {
        kept.push_back({name, tensor});
      }
    }
    io::save_tensors(folder_ / "model.safetensors", kept);
    folder_.write("config.json", config_.dump());
    return open_packed(folder_.path());
  }
  void expect_refused(const std::vector<std::string>& parts) const {
    expect_error(ErrorKind::kModel, parts, [&] {
      const std::unique_ptr<io::Checkpoint> checkpoint = open();
      for (const std::string& name : checkpoint->names()) {
        checkpoint->stored(name);
      }
    });
  }

 private:
  lora::test::TemporaryFolder folder_;
  Json config_;
  std::map<std::string, at::Tensor> tensors_;
};

const std::string kModule = "model.layers.0.self_attn.k_proj";

TEST(PackedCheckpoint, RecognisesZeroPointsUnderTheOtherVersionsName) {
  for (const auto& [name, other] : {std::pair("gptq/4bit", "gptq_v2"), std::pair("gptq/v2", "gptq")}) {
    ChangedFolder folder(name);
    folder.section()["checkpoint_format"] = other;
    const std::unique_ptr<io::Checkpoint> checkpoint = folder.open(), original = open_packed(quantized_folder(name));
    ASSERT_EQ(checkpoint->notes().size(), 1U);
    EXPECT_NE(checkpoint->notes().front().find("checkpoint_format"), std::string::npos);
    EXPECT_TRUE(original->notes().empty());
    expect_same(checkpoint->tensor(kModule + ".weight"), original->tensor(kModule + ".weight"), name);
    EXPECT_EQ(checkpoint->fingerprint(), original->fingerprint());
  }
}

TEST(PackedCheckpoint, ReadsWhatAutoRoundNamesAfterOtherTools) {
  for (const auto& [name, packing] : {std::pair("gptq/2bit", "auto_round:auto_gptq"), std::pair("gptq/v2", "auto_round"),
                                      std::pair("awq/gemm", "auto_round:auto_awq")}) {
    ChangedFolder folder(name);
    const Json bits = folder.section()["bits"], size = folder.section()["group_size"], sym = folder.section().value("sym", Json(false));
    folder.section() = {{"quant_method", "auto-round"}, {"packing_format", packing}, {"bits", bits}, {"group_size", size}, {"sym", sym}};
    expect_same(folder.open()->tensor(kModule + ".weight"), open_packed(quantized_folder(name))->tensor(kModule + ".weight"), name);
  }
}

TEST(PackedCheckpoint, AGroupLargerThanTheMatrixIsOneGroup) {
  for (const int64_t size : {int64_t{4096}, int64_t{1} << 40, INT64_MAX}) {
    ChangedFolder folder("gptq/8bit");
    ASSERT_EQ(folder.section()["group_size"], -1);
    folder.section()["group_size"] = size;
    expect_same(folder.open()->tensor(kModule + ".weight"), open_packed(quantized_folder("gptq/8bit"))->tensor(kModule + ".weight"),
                "8bit");
  }
}

TEST(PackedCheckpoint, DecodesWhatCannotStayPacked) {
  ChangedFolder folder("hqq/4bit");
  const auto part = [&](const char* name) -> at::Tensor& { return folder.tensor(kModule + "." + name); };
  // The same codes with a group in each column (axis 0), which runs across the rows of the weight.
  const at::Tensor bytes = part("W_q"), shape = part("shape").to(at::kLong);
  const at::Tensor codes = at::cat({bytes.bitwise_right_shift(4), bytes.bitwise_and(15)}).t().contiguous();
  part("W_q") = codes.slice(0, 0, codes.size(0) / 2).bitwise_left_shift(4).bitwise_or(codes.slice(0, codes.size(0) / 2));
  part("scale") = part("scale").reshape({1, -1});
  part("zero") = part("zero").reshape({1, -1});
  part("axis") = at::zeros_like(part("axis"));
  const at::Tensor expected = ((codes.to(part("scale").scalar_type()) - part("zero")) * part("scale"))
                                  .reshape({shape[0].item<int64_t>(), shape[1].item<int64_t>()});
  const std::unique_ptr<io::Checkpoint> checkpoint = folder.open();
  EXPECT_FALSE(checkpoint->facts(kModule + ".weight").is_packed);
  EXPECT_EQ(checkpoint->stored(kModule + ".weight").packed, nullptr);
  expect_same(checkpoint->tensor(kModule + ".weight"), expected, "axis 0");
  // Another weight of the folder has groups that cross the ends of rows.
  EXPECT_TRUE(open_packed(quantized_folder("hqq/4bit"))->notes().front().starts_with("1 weight cannot stay packed"));
  ASSERT_EQ(checkpoint->notes().size(), 1U);
  EXPECT_TRUE(checkpoint->notes().front().starts_with("2 weights cannot stay packed")) << checkpoint->notes().front();
}

TEST(PackedCheckpoint, RefusesOtherVariantsByName) {
  const auto refused = [](const std::string& name, const std::string& key, const Json& value, const std::vector<std::string>& parts) {
    ChangedFolder folder(name);
    folder.section()[key] = value;
    folder.expect_refused(parts);
  };
  refused("awq/gemm", "version", "gemv", {"quantization_config.version", "gemv", "gemm"});
  refused("awq/gemm", "bits", 3, {"quantization_config.bits", "3"});
  refused("gptq/4bit", "checkpoint_format", "marlin", {"checkpoint_format", "marlin", "gptq_v2"});
  refused("gptq/4bit", "bits", 5, {"quantization_config.bits", "5", "2, 3, 4 or 8"});
  refused("gptq/4bit", "group_size", 0, {"quantization_config.group_size"});
  refused("gptq/4bit", "quant_method", "aqlm", {"quant_method", "aqlm", "compressed-tensors"});
  refused("gptq/4bit", "group_size", INT64_MAX, {"scales"});
  refused("fp8/blocks128", "weight_block_size", 3, {"weight_block_size", "two positive"});
  refused("compressed_tensors/pack_quantized", "format", "nvfp4-pack-quantized", {"quantization_config.format", "nvfp4", "int-quantized"});
}

TEST(PackedCheckpoint, NamesThePartThatIsMissingOrDoesNotFit) {
  const auto refused = [](const std::string& name, const std::string& part, const at::Tensor& value) {
    ChangedFolder folder(name);
    folder.tensor(kModule + "." + part) = value;
    folder.expect_refused({kModule + "." + part});
  };
  refused("gptq/4bit", "scales", {});
  refused("gptq/4bit", "qzeros", at::zeros({1, 1}, at::kInt));
  refused("gptq/4bit", "g_idx", at::zeros({64}, at::kLong));
  refused("gptq/4bit", "qweight", at::zeros({8, 32}));
  refused("awq/gemm", "qzeros", {});
  refused("awq/gemm", "scales", at::zeros({3, 32}));
  refused("compressed_tensors/pack_quantized", "weight_shape", at::full({2}, int64_t{1} << 60, at::kLong));
  refused("compressed_tensors/int_quantized", "weight_scale", at::zeros({7, 3}));
  refused("fp8/blocks128", "weight_scale_inv", at::zeros({7, 3}));
  refused("hqq/4bit", "shape", at::full({2}, 64, at::kInt));
  refused("hqq/4bit", "nbits", at::scalar_tensor(3, at::kInt));
  refused("bitsandbytes_models/nf4", "weight.absmax", {});
  refused("bitsandbytes_models/nf4", "weight.quant_map", at::linspace(-1, 1, 16));
  refused("compressed_tensors/pack_quantized", "weight_packed", at::zeros({8, 32}));
}

}  // namespace
}  // namespace lora::quantization
