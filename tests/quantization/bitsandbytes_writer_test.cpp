// Packed matrices as tensors of files: those that bitsandbytes and transformers wrote come out again, byte by byte.
#include "lora/quantization/bitsandbytes_writer.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <stdexcept>

#include "lora/base/file.h"
#include "lora/io/tensors.h"
#include "lora/quantization/blockwise4.h"
#include "lora/quantization/packed_checkpoint.h"
#include "open_packed.h"
#include "support/packed_folders.h"

namespace lora::quantization {
namespace {

using testing::HasSubstr;

at::Tensor bytes_of_tensor(const at::Tensor& tensor) {
  return tensor.contiguous().reshape({-1}).view(at::kByte);
}

std::string text_of(const at::Tensor& bytes) {
  return {static_cast<const char*>(bytes.const_data_ptr()), static_cast<size_t>(bytes.numel())};
}

std::string module_part(const std::string& weight) {
  return weight.substr(0, weight.rfind('.'));
}

class WrittenFolders : public testing::TestWithParam<const char*> {};

TEST_P(WrittenFolders, HaveTheBytesOfTransformers) {
  const fs::path folder = lora::test::quantized_folder(std::string("bitsandbytes_models/") + GetParam());
  const std::unique_ptr<io::Checkpoint> checkpoint = open_packed(folder);
  const io::SafetensorsFile file(folder / "model.safetensors");
  const bool has_other_storage = std::string(GetParam()) == "fp4";  // the codes are viewed as bfloat16 there
  std::set<std::string> written;
  for (const std::string& name : checkpoint->names()) {
    if (!checkpoint->facts(name).is_packed) {
      written.insert(name);
      continue;
    }
    const auto tensors = bitsandbytes_tensors(*checkpoint->stored(name).packed, module_part(name));
    EXPECT_EQ(tensors.front().name, name) << "the codes come first";
    for (const auto& [own, tensor] : tensors) {
      ASSERT_TRUE(file.contains(own)) << own;
      written.insert(own);
      const at::Tensor expected = file.tensor(own);
      EXPECT_TRUE(bytes_of_tensor(tensor).equal(bytes_of_tensor(expected))) << own;
      if (!has_other_storage || own != name) {
        EXPECT_EQ(tensor.scalar_type(), expected.scalar_type()) << own;
        EXPECT_EQ(tensor.sizes(), expected.sizes()) << own;
      }
    }
  }
  const std::vector<std::string> all = file.names();
  EXPECT_EQ(written, std::set<std::string>(all.begin(), all.end()));
}

INSTANTIATE_TEST_SUITE_P(All, WrittenFolders, testing::Values("nf4", "nf4_dq", "fp4", "int8", "gpt2"));

TEST(BitsandbytesStreams, TakeTheCodesWhenTheyAreWritten) {
  const at::Tensor W = at::arange(6 * 40, at::kFloat).view({6, 40}).sin();
  const QuantizationOptions options{QuantizationType::kNf4, /*double_quant=*/true};
  int made = 0;
  const auto matrix = quantize(W, options);
  const auto streams = bitsandbytes_streams(*matrix, "m", [&] {
    ++made;
    return quantize(W, options);
  });
  const auto tensors = bitsandbytes_tensors(*matrix, "m");
  ASSERT_EQ(streams.size(), tensors.size());
  EXPECT_EQ(made, 0);
  for (size_t i = 0; i < streams.size(); ++i) {
    at::Tensor written;
    streams[i].produce([&](const at::Tensor& piece) { written = piece; });
    EXPECT_EQ(streams[i].name, tensors[i].name);
    EXPECT_EQ(streams[i].shape, tensors[i].tensor.sizes().vec());
    EXPECT_EQ(streams[i].dtype, tensors[i].tensor.scalar_type());
    EXPECT_TRUE(written.equal(tensors[i].tensor)) << streams[i].name;
  }
  EXPECT_EQ(made, 1) << "only for the codes";
}

/// The numbers are Python's repr of float32 values.
TEST(BitsandbytesTensors, WriteNumbersAsPython) {
  const auto matrix = quantize(at::ones({2, 64}), {QuantizationType::kFp4, /*double_quant=*/true});
  for (const auto& [offset, text] : {std::pair(1.0F, "1.0"), std::pair(0.0F, "0.0"), std::pair(1e-5F, "9.999999747378752e-06"),
                                     std::pair(1e-4F, "9.999999747378752e-05"), std::pair(0.1F, "0.10000000149011612"),
                                     std::pair(16777216.0F, "16777216.0"), std::pair(1e20F, "1.0000000200408773e+20"),
                                     std::pair(-2.5F, "-2.5")}) {
    Blockwise4Parts parts = dynamic_cast<const Blockwise4&>(*matrix).parts();
    parts.nested->offset = offset;
    const auto tensors = bitsandbytes_tensors(Blockwise4(std::move(parts), "test"), "m");
    EXPECT_EQ(tensors.back().name, "m.weight.quant_state.bitsandbytes__fp4");
    EXPECT_THAT(text_of(tensors.back().tensor), HasSubstr(std::string(R"("nested_dtype": "float32", "nested_offset": )") + text + "}"));
  }
}

TEST(BitsandbytesOptions, AreThoseOfTheMatrix) {
  const at::Tensor W = at::ones({3, 128});
  for (const QuantizationType type : {QuantizationType::kNf4, QuantizationType::kFp4}) {
    for (const bool twice : {false, true}) {
      const auto found = bitsandbytes_options(*quantize(W, {type, twice, 128}));
      ASSERT_TRUE(found.has_value());
      EXPECT_EQ(found->type, type);
      EXPECT_EQ(found->double_quant, twice);
      EXPECT_EQ(found->block_size, 128);
    }
  }
  EXPECT_EQ(bitsandbytes_options(*quantize(W, {QuantizationType::kInt8}))->type, QuantizationType::kInt8);
}

TEST(BitsandbytesOptions, OtherFormatsAreNotWritten) {
  const std::unique_ptr<io::Checkpoint> gptq = open_packed(lora::test::quantized_folder("gptq/4bit"));
  const io::StoredWeight stored = gptq->stored("model.layers.0.self_attn.k_proj.weight");
  ASSERT_NE(stored.packed, nullptr);
  EXPECT_EQ(bitsandbytes_options(*stored.packed), std::nullopt);
  EXPECT_THROW(bitsandbytes_tensors(*stored.packed, "m"), std::invalid_argument);
}

TEST(BitsandbytesConfig, HasTheKeysOfTransformers) {
  for (const auto& [name, options] :
       {std::pair("nf4", QuantizationOptions{}), std::pair("int8", QuantizationOptions{QuantizationType::kInt8}),
        std::pair("nf4_dq", QuantizationOptions{QuantizationType::kNf4, true})}) {
    const fs::path file = lora::test::quantized_folder(std::string("bitsandbytes_models/") + name) / "config.json";
    Json expected = read_json(file, ErrorKind::kModel)["quantization_config"];
    expected["llm_int8_skip_modules"] = {"lm_head", "score"};  // null: chosen by transformers
    EXPECT_EQ(bitsandbytes_config(options, at::kFloat, {"lm_head", "score"}), expected) << name;
  }
}

}  // namespace
}  // namespace lora::quantization
