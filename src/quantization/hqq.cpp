// HQQ (Badri and Shaji 2023): value = (code - zero) · scale with zero points that are not integers, in the dtype of the scales.
// Its matrix of codes has a group in each row (axis 1) or in each column (axis 0); each byte holds codes of rows that are far apart.
#include <ATen/ATen.h>

#include "lora/base/error.h"
#include "lora/io/tensor_facts.h"
#include "lora/quantization/scaled_codes.h"
#include "quantization/packed_format.h"

namespace lora::quantization {

namespace {

constexpr const char* kCodes8 = "W_q";

/// What a module's tensors say of its codes.
struct HqqShape {
  int64_t rows, columns;    ///< of the weight
  int64_t bits;
  int64_t groups;           ///< groups of group_size values
  int64_t group_size;
  bool in_rows;             ///< groups are consecutive values of the weight, row after row
};

/// Codes uint8 of the matrix of groups: the first part of its rows is in the highest bits of each byte, and so on.
Tensor spread_codes(const Tensor& packed, int64_t bits) {
  std::vector<Tensor> rows;
  for (int64_t shift = 8 - bits; shift >= 0; shift -= bits) {
    rows.push_back(packed.bitwise_right_shift(shift).bitwise_and((1 << bits) - 1));
  }
  return at::cat(rows);
}

/// Two codes to a byte, the first in the low half, and so on: a row of `codes` is one bit stream.
Tensor as_streams(const Tensor& codes, int64_t bits) {
  Tensor bytes = at::zeros({codes.size(0), codes.size(1) * bits / 8}, at::kByte);
  for (int64_t i = 0; i < 8 / bits; ++i) {
    bytes.bitwise_or_(codes.slice(1, i, std::nullopt, 8 / bits).bitwise_left_shift(i * bits));
  }
  return bytes;
}

class Hqq : public PackedFormat {
 public:
  std::vector<std::string> parts() const override {
    return {kCodes8,        "nbits",       "group_size",   "shape",         "scale",         "zero",
            "axis",         "packing",     "optimize",     "round_zero",    "channel_wise",  "view_as_float",
            "quant_scale",  "quant_zero",  "compute_dtype", "offload_meta", "unpack_view_dtype", "encoded_state_dict",
            "stores_quant_config"};
  }
  std::vector<std::string> marks() const override { return {kCodes8}; }

  PackedFacts facts(const Parts& parts) const override {
    const HqqShape shape = shape_of(parts);
    return {shape.rows, shape.columns, "hqq " + std::to_string(shape.bits) + "-bit", parts.scales("scale").dtype, stays_packed(shape)};
  }

  io::StoredWeight read(const Parts& parts) const override {
    const HqqShape shape = shape_of(parts);
    const Tensor codes = spread_codes(parts.tensor(kCodes8), shape.bits);
    parts.release(kCodes8);
    const Tensor scale = parts.tensor("scale"), zero = parts.tensor("zero").to(scale.scalar_type());
    if (!stays_packed(shape)) {
      return {((codes.to(scale.scalar_type()) - zero) * scale).reshape({shape.rows, shape.columns})};
    }
    ScaledCodesParts matrix;
    matrix.format = facts(parts).format;
    matrix.bits = shape.bits;
    matrix.rows = shape.rows;
    matrix.columns = shape.columns;
    matrix.block_columns = shape.group_size;
    matrix.codes = as_streams(codes.view({shape.rows, shape.columns}), shape.bits);
    matrix.scales = scale.reshape({shape.rows, -1}).clone();
    matrix.zeros = zero.reshape({shape.rows, -1}).clone();
    return {{}, std::make_shared<const ScaledCodes>(std::move(matrix), parts.where(kCodes8))};
  }

 private:
  /// Where groups run across the ends of rows or from row to row, the weight is decoded.
  static bool stays_packed(const HqqShape& shape) {
    return shape.in_rows && shape.columns % shape.group_size == 0 && shape.columns * shape.bits % 8 == 0;
  }

  static HqqShape shape_of(const Parts& parts) {
    const std::vector<int64_t> codes = parts.matrix(kCodes8, at::kByte).shape;
    HqqShape shape{0, 0, parts.number("nbits"), 0, 0, parts.number("axis") == 1};
    if (shape.bits != 2 && shape.bits != 4 && shape.bits != 8) {
      parts.fail("nbits", std::to_string(shape.bits), "2, 4 or 8");
    }
    for (const char* quantised : {"quant_scale", "quant_zero"}) {
      if (parts.has(quantised) && parts.number(quantised) != 0) {
        parts.fail(quantised, "true", "false: quantised scales and zero points are not supported");
      }
    }
    if (parts.has("view_as_float") && parts.number("view_as_float") != 0) {
      parts.fail("view_as_float", "true", "false");
    }
    const Tensor sizes = parts.tensor("shape");
    if (sizes.numel() != 2 || sizes.is_floating_point()) {
      parts.fail("shape", io::shape_text(sizes.sizes()), "two integers");
    }
    const Tensor wide = sizes.to(at::kLong).view({-1});
    shape.rows = wide[0].item<int64_t>();
    shape.columns = wide[1].item<int64_t>();
    const int64_t spread = codes[0] * (8 / shape.bits), count = spread * codes[1];
    if (shape.rows < 1 || shape.columns < 1 || shape.rows > count || count % shape.rows != 0 || count / shape.rows != shape.columns) {
      parts.fail("shape", io::shape_text({shape.rows, shape.columns}), "the shape of " + std::to_string(count) + " codes");
    }
    shape.groups = shape.in_rows ? spread : codes[1];
    shape.group_size = shape.in_rows ? codes[1] : spread;
    const std::vector<int64_t> expected =
        shape.in_rows ? std::vector<int64_t>{shape.groups, 1} : std::vector<int64_t>{1, shape.groups};
    for (const char* part : {"scale", "zero"}) {
      if (const io::TensorFacts found = parts.scales(part); found.shape != expected) {
        parts.fail(part, io::shape_text(found.shape), io::shape_text(expected) + ", one for each group");
      }
    }
    return shape;
  }
};

}  // namespace

std::unique_ptr<PackedFormat> make_hqq(const JsonReader&) {
  return std::make_unique<Hqq>();
}

}  // namespace lora::quantization
