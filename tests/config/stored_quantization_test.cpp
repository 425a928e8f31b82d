// How an adapter's file says with which options its base was quantised.
#include "lora/config/stored_quantization.h"

#include <c10/core/ScalarType.h>
#include <gtest/gtest.h>

#include "support/expect_error.h"

namespace lora::config {
namespace {

using models::QuantizationKind;
using test::expect_error;

TEST(StoredQuantization, HasAllOptions) {
  models::Quantization given{.type = QuantizationKind::kFp4, .double_quant = true, .block_size = 128, .skip_modules = {"up_proj", "0.mlp"}};
  const std::string text = quantization_settings(given, c10::ScalarType::BFloat16);
  EXPECT_EQ(text, R"({"type":"fp4","double_quant":true,"block_size":128,"skip_modules":["up_proj","0.mlp"],"dtype":"bfloat16"})");
  const StoredQuantization read = read_quantization_settings(text, "runs/a");
  EXPECT_EQ(read.dtype, models::ComputeDtype::kBFloat16);
  EXPECT_EQ(read.quantization.type, given.type);
  EXPECT_EQ(read.quantization.double_quant, given.double_quant);
  EXPECT_EQ(read.quantization.block_size, given.block_size);
  EXPECT_EQ(read.quantization.skip_modules, given.skip_modules);
}

TEST(StoredQuantization, IsReadStrictly) {
  const auto refuses = [](const std::string& text, const std::vector<std::string>& parts) {
    SCOPED_TRACE(text);
    expect_error(ErrorKind::kModel, parts, [&] { read_quantization_settings(text, "runs/a"); });
  };
  refuses("nf4", {"runs/a", "base_quantization_settings"});
  refuses("[]", {"runs/a", "dtype"});
  refuses(R"({"type": "nf4"})", {"runs/a", "dtype: found null"});
  refuses(R"({"type": "nf4", "dtype": "float64"})", {"float64"});
  refuses(R"({"type": "nf5", "dtype": "float32"})", {"runs/a", "type", "nf5"});
  refuses(R"({"type": "none", "dtype": "float32"})", {"none"});
  refuses(R"({"type": "nf4", "dtype": "float32", "block_size": 65})", {"block_size", "65"});
  refuses(R"({"type": "nf4", "dtype": "float32", "blocks": 64})", {"blocks"});
  refuses(R"({"type": "nf4", "dtype": "float32", "skip_modules": ["("]})", {"skip_modules"});
}

}  // namespace
}  // namespace lora::config
