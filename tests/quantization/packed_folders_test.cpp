// Folders of packed weights that other tools wrote: the values are those that the tools themselves decode.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "lora/base/file.h"
#include "lora/io/tensors.h"
#include "lora/quantization/mxfp4.h"
#include "lora/quantization/packed_checkpoint.h"
#include "support/expect_error.h"
#include "support/paths.h"

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
    ASSERT_NE(stored.packed, nullptr) << name;
    const at::Tensor values = expected.tensor(name).to(at::kFloat);
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
                         testing::Values("gptq/2bit", "gptq/3bit", "gptq/4bit", "gptq/8bit", "gptq/desc_act", "gptq/v2", "gptq/v2_3bit",
                                         "awq/gemm", "compressed_tensors/pack_quantized", "compressed_tensors/actorder",
                                         "compressed_tensors/int_quantized", "compressed_tensors/float_quantized", "fp8/blocks128",
                                         "fp8/ue8m0", "hqq/4bit", "bitsandbytes_models/nf4", "bitsandbytes_models/nf4_dq",
                                         "bitsandbytes_models/fp4", "bitsandbytes_models/int8", "bitsandbytes_models/gpt2",
                                         "bitsandbytes_models/gpt2_int8"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '/', '_');
                           return name;
                         });

}  // namespace
}  // namespace lora::quantization
