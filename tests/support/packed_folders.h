#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <string>

#include "support/paths.h"

namespace lora::test {

/// Folders in tests/data/quantized whose weights other tools packed, each with an expected.safetensors: logits and dequantised weights.
inline constexpr std::array kPackedFolders{
    "gptq/2bit", "gptq/3bit", "gptq/4bit", "gptq/8bit", "gptq/desc_act", "gptq/v2", "awq/gemm", "compressed_tensors/pack_quantized",
    "compressed_tensors/actorder", "compressed_tensors/int_quantized", "compressed_tensors/float_quantized", "fp8/blocks128", "fp8/ue8m0",
    "hqq/4bit", "bitsandbytes_models/nf4", "bitsandbytes_models/nf4_dq", "bitsandbytes_models/fp4", "bitsandbytes_models/int8",
    "bitsandbytes_models/gpt2"};

inline std::filesystem::path quantized_folder(const std::string& name) {
  return kData / "quantized" / name;
}

/// A folder's name as that of a test.
inline std::string folder_test_name(const testing::TestParamInfo<const char*>& info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '/', '_');
  return name;
}

}  // namespace lora::test
