#pragma once
#include <string>

#include "lora/io/packed_matrix.h"
#include "lora/ops/decode_on_device.h"

namespace lora::quantization {

using at::Tensor;

/// What the codes of a matrix stand for.
enum class Codes {
  kUnsigned,  ///< integers from 0 on
  kSigned,    ///< int8
  kE4M3,      ///< 8-bit floating-point numbers (torch.float8_e4m3fn)
  kE2M1,      ///< 4-bit floating-point numbers: 0, 0.5, 1, 1.5, 2, 3, 4, 6, and from code 8 on their negatives
};

/// A matrix W [rows, columns] of codes with scales on a grid: W[o, i] = (value(code[o, i]) - zero[b, g]) · scale[b, g], where
/// b = o / block_rows and g = i / block_columns, or g = groups[i]. The value, the difference and the product are each rounded to the
/// dtype of the scales, as torch does when it multiplies in that dtype.
struct ScaledCodesParts {
  std::string format;  ///< "gptq 4-bit", "fp8", …
  Codes kind = Codes::kUnsigned;
  int64_t bits = 4;  ///< of a code: 1 to 8
  int64_t rows = 0;
  int64_t columns = 0;
  int64_t block_rows = 1;     ///< rows that share scales; the last block may be smaller
  int64_t block_columns = 1;  ///< columns that share a scale; the last block may be smaller
  Tensor codes;       ///< uint8 [rows, bytes of a row]: each row is a little-endian bit stream, which unused bytes may follow
  Tensor scales;      ///< [B, G], float32, bfloat16 or float16
  Tensor zeros;       ///< [B, G] or one element, in the dtype of the scales; undefined: 0
  Tensor groups;      ///< int32 [columns]; undefined: i / block_columns
};

/// GPTQ, AWQ, HQQ, compressed-tensors, FP8 and MXFP4 in memory: they differ in what their codes stand for and in how files store them.
class ScaledCodes : public io::PackedMatrix {
 public:
  /// @param where for errors: file and tensor. Throws model Error if a part does not have the size or dtype that the others determine,
  /// for a group that does not exist, and for a scale or a value that is not finite.
  ScaledCodes(ScaledCodesParts parts, const std::string& where);

  const ScaledCodesParts& parts() const { return parts_; }
  /// What a device's kernels decode.
  ops::GridCodes grid_codes() const;

  int64_t out_features() const override { return parts_.rows; }
  int64_t in_features() const override { return parts_.columns; }
  std::string format() const override { return parts_.format; }
  at::Device device() const override { return parts_.codes.device(); }
  at::ScalarType value_dtype() const override { return parts_.scales.scalar_type(); }
  int64_t column_step() const override { return 64; }

  void decode(const io::Tile& tile, at::ScalarType dtype, void* out, int64_t stride) const override;
  Tensor decoded(const io::Tile& tile, at::ScalarType dtype) const override;

  std::shared_ptr<const io::PackedMatrix> to(at::Device device) const override;
  /// "codes", "scales", and if there are any "zeros" and "groups".
  std::map<std::string, Tensor> tensors() const override;

 private:
  ScaledCodesParts parts_;
  Tensor table_;  ///< float32 [2^bits], the values of floating-point codes; undefined for integers
};

}  // namespace lora::quantization
