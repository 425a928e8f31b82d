// The bytes of bitsandbytes' own layers and the values that they stand for (scripts/golden/bitsandbytes_blocks.py).
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "lora/base/json.h"
#include "lora/io/tensors.h"
#include "lora/ops/packed_weight.h"
#include "lora/quantization/blockwise4.h"
#include "lora/quantization/int8_rows.h"
#include "lora/quantization/quantize.h"
#include "lora/quantization/selected_rows.h"
#include "support/paths.h"
#include "support/tensors.h"

namespace lora::quantization {
namespace {

using test::expect_close;
using test::expect_equal;

/// The goldens of one type.
class Blocks {
 public:
  explicit Blocks(const std::string& type) : type_(type), packed_(kFolder / (type + ".safetensors")) {}

  Json cases() const { return read_json(kFolder / "cases.json", ErrorKind::kModel); }
  bool contains(const std::string& name) const { return packed_.contains(name + ".weight"); }
  Tensor source(const std::string& name) const { return sources_.tensor(name + ".weight"); }
  Tensor packed(const std::string& key) const { return packed_.tensor(key); }
  /// Undefined where there are no expected values (size).
  Tensor values(const std::string& name) const {
    const std::string key = type_ + "." + name;
    return expected_.contains(key) ? expected_.tensor(key) : Tensor();
  }
  Tensor product(const std::string& name, const char* part) const { return products_.tensor(type_ + "." + name + "." + part); }
  /// The JSON next to a 4-bit weight.
  Json state(const std::string& name) const {
    const Tensor bytes = packed(name + ".weight.quant_state.bitsandbytes__" + type_.substr(0, 3));
    return Json::parse(std::string(static_cast<const char*>(bytes.const_data_ptr()), static_cast<size_t>(bytes.numel())));
  }
  Blockwise4Parts stored(const std::string& name) const {
    const Json facts = state(name);
    const std::string weight = name + ".weight";
    Blockwise4Parts parts{type_.substr(0, 3),      facts["shape"][0],          facts["shape"][1],            facts["blocksize"],
                          source(name).scalar_type(), packed(weight), packed(weight + ".absmax"), packed(weight + ".quant_map")};
    if (facts.contains("nested_offset")) {
      parts.nested = {packed(weight + ".nested_absmax"), packed(weight + ".nested_quant_map"), facts["nested_offset"],
                      facts["nested_blocksize"]};
    }
    return parts;
  }

 private:
  static inline const fs::path kFolder = test::kData / "quantized" / "bitsandbytes_blocks";
  std::string type_;
  io::SafetensorsFile packed_, sources_{kFolder / "sources.safetensors"}, expected_{kFolder / "expected.safetensors"},
      products_{kFolder / "products.safetensors"};
};

class FourBits : public testing::TestWithParam<const char*> {};

TEST_P(FourBits, BytesAndValuesAreThoseOfBitsandbytes) {
  const std::string type = GetParam();
  const Blocks blocks(type);
  int64_t compared = 0;
  const Json cases = blocks.cases();
  for (const auto& [name, facts] : cases.items()) {
    const std::string what = type + " " + name;
    const Blockwise4 stored(blocks.stored(name), what);
    const QuantizationOptions options{*kQuantizationTypes.find(type.substr(0, 3)), type.ends_with("_dq"), facts["block_size"]};
    const auto ours = quantize(blocks.source(name), options);
    const std::map<std::string, Tensor> actual = ours->tensors(), expected = stored.tensors();
    ASSERT_EQ(actual.size(), expected.size()) << what;
    for (const auto& [part, tensor] : expected) {
      expect_equal(actual.at(part), tensor, what + " " + part);
    }
    expect_equal(io::decoded(*ours, at::kFloat), io::decoded(stored, at::kFloat), what);
    if (const Tensor values = blocks.values(name); values.defined()) {
      expect_equal(io::decoded(stored, values.scalar_type()), values, what);
      expect_equal(io::decoded(stored, at::kBFloat16), values.to(at::kBFloat16), what);
      expect_equal(io::decoded(stored, at::kHalf), values.to(at::kHalf), what);
      ++compared;
    }
  }
  EXPECT_TRUE(compared >= 9 || type == "fp4_dq") << compared;
}

TEST_P(FourBits, ProductsAreThoseOfBitsandbytesInTraining) {
  const std::string type = GetParam();
  const Blocks blocks(type);
  for (const std::string name : {"bfloat16_20x64", "float16_20x64"}) {
    const auto matrix = std::make_shared<const Blockwise4>(blocks.stored(name), name);
    const auto rows = select_rows(matrix, {3, 4, 17});  // the same rule for a part of a matrix
    const ops::PackedWeight weight(matrix, at::kFloat), part(rows, at::kFloat);
    const Tensor x = blocks.product(name, "x"), y = blocks.product(name, "y"), dy = blocks.product(name, "dy");
    const std::string what = type + " " + name;
    expect_close(weight.multiply(x, std::nullopt), y, 1e-6, what);
    expect_close(weight.multiply(x.slice(0, 0, 2), std::nullopt), y.slice(0, 0, 2), 1e-6, what + ", few tokens");
    expect_close(part.multiply(x, std::nullopt), y.index_select(1, at::tensor({3, 4, 17})), 1e-6, what + ", some rows");
    expect_close(weight.multiply_transposed(dy), blocks.product(name, "dx"), 1e-6, what);
    expect_equal(weight.dequantised(), io::decoded(*matrix, matrix->value_dtype()).to(at::kFloat), what);
  }
}

INSTANTIATE_TEST_SUITE_P(Types, FourBits, testing::Values("nf4", "nf4_dq", "fp4", "fp4_dq"));

TEST(Int8, BytesAndValuesAreThoseOfBitsandbytes) {
  const Blocks blocks("int8");
  int64_t compared = 0;
  const Json cases = blocks.cases();
  for (const auto& [name, facts] : cases.items()) {
    if (!blocks.contains(name)) {
      continue;
    }
    const auto ours = quantize(blocks.source(name), {QuantizationType::kInt8});
    expect_equal(ours->tensors().at("codes"), blocks.packed(name + ".weight"), name);
    expect_equal(ours->tensors().at("scales"), blocks.packed(name + ".SCB"), name);
    if (const Tensor values = blocks.values(name); values.defined()) {
      const Int8Rows stored(blocks.packed(name + ".weight"), blocks.packed(name + ".SCB"), at::kFloat, name);
      expect_equal(io::decoded(stored, at::kFloat), values, name);
      ++compared;
    }
  }
  EXPECT_GE(compared, 10);
}

}  // namespace
}  // namespace lora::quantization
