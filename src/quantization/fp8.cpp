// Fine-grained FP8 (DeepSeek-V3, Qwen3-FP8): weight · weight_scale_inv in float32, which multiplies despite its name.
#include <ATen/ATen.h>

#include "lora/base/error.h"
#include "lora/io/tensor_facts.h"
#include "quantization/elements.h"
#include "quantization/grid_scales.h"

namespace lora::quantization {

namespace {

constexpr const char* kScales = "weight_scale_inv";

bool is_exponent(at::ScalarType dtype) {
  return dtype == at::kByte || dtype == at::kFloat8_e8m0fnu;
}

/// Scales in float32.
Tensor scales_of(const Tensor& stored) {
  return is_exponent(stored.scalar_type()) ? powers_of_two(stored) : stored.to(at::kFloat);
}

class Fp8 : public PackedFormat {
 public:
  explicit Fp8(BlockSize size) : size_(size) {}

  std::vector<std::string> parts() const override { return {"weight", kScales, "input_scale", "activation_scale"}; }
  std::vector<std::string> marks() const override { return {kScales}; }

  PackedFacts facts(const Parts& parts) const override {
    const ScaledCodesParts matrix = described(parts);
    return {matrix.rows, matrix.columns, matrix.format, at::kFloat};
  }

  io::StoredWeight read(const Parts& parts) const override {
    ScaledCodesParts matrix = described(parts);
    const Tensor scales = parts.tensor(kScales);
    matrix.scales = scales_of(scales).reshape(set_blocks(parts, kScales, scales.sizes().vec(), block_of(matrix), matrix));
    matrix.codes = as_bytes(parts.tensor("weight"));
    return {{}, std::make_shared<const ScaledCodes>(std::move(matrix), parts.where())};
  }

 private:
  BlockSize block_of(const ScaledCodesParts& matrix) const { return matrix.kind == Codes::kE2M1 ? BlockSize{1, 32} : size_; }

  /// Everything but the tensors. Experts may have two 4-bit codes in a byte.
  ScaledCodesParts described(const Parts& parts) const {
    const io::TensorFacts codes = parts.facts("weight"), scales = parts.facts(kScales);
    const bool is_fp4 = codes.dtype == at::kChar;
    const bool is_matrix = codes.shape.size() == 2 && codes.shape[0] > 0 && codes.shape[1] > 0;
    if (!is_matrix || (!is_fp4 && codes.dtype != at::kFloat8_e4m3fn)) {
      parts.fail("weight", codes.stored_as + " " + io::shape_text(codes.shape), "a matrix of F8_E4M3 (or I8 with two 4-bit codes each)");
    }
    if (!is_value_dtype(scales.dtype) && !is_exponent(scales.dtype)) {
      parts.fail(kScales, scales.stored_as, "F32, BF16, F16, F8_E8M0 or U8");
    }
    ScaledCodesParts matrix;
    matrix.format = is_fp4 ? "fp4 e2m1" : "fp8";
    matrix.kind = is_fp4 ? Codes::kE2M1 : Codes::kE4M3;
    matrix.bits = is_fp4 ? 4 : 8;
    matrix.rows = codes.shape[0];
    matrix.columns = codes.shape[1] * (is_fp4 ? 2 : 1);
    set_blocks(parts, kScales, scales.shape, block_of(matrix), matrix);
    return matrix;
  }

  BlockSize size_;
};

}  // namespace

std::unique_ptr<PackedFormat> make_fp8(const JsonReader& section) {
  BlockSize size;
  if (section.has("weight_block_size")) {
    const Json& found = section.at("weight_block_size");
    if (!found.is_array() || found.size() != 2 || !found[0].is_number_integer() || !found[1].is_number_integer() ||
        found[0].get<int64_t>() < 1 || found[1].get<int64_t>() < 1) {
      section.fail("weight_block_size", "two positive numbers");
    }
    size = {found[0].get<int64_t>(), found[1].get<int64_t>()};
  }
  return std::make_unique<Fp8>(size);
}

}  // namespace lora::quantization
