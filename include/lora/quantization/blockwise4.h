#pragma once
#include <optional>
#include <string>
#include <vector>

#include "lora/io/packed_matrix.h"

namespace lora::quantization {

using at::Tensor;

/// Scales that are quantised too (QLoRA, section 3: double quantisation): absmax[b] = map[codes[b]] · absmax2[b / block_size] + offset.
struct NestedScales {
  Tensor absmax;  ///< float32 [ceil(blocks / block_size)]
  Tensor map;     ///< float32 [256]
  float offset = 0;
  int64_t block_size = 256;
};

/// A matrix W [rows, columns] in bitsandbytes' 4-bit formats, as its files have it. The elements of W, row after row, are divided into
/// blocks, which may span several rows; W[e] = codebook[code[e]] · absmax[e / block_size] in float32, rounded to value_dtype.
struct Blockwise4Parts {
  std::string format;  ///< "nf4" or "fp4"
  int64_t rows = 0;
  int64_t columns = 0;
  int64_t block_size = 64;               ///< a power of two from 32 to 4096
  at::ScalarType value_dtype = at::kFloat;  ///< float32, bfloat16 or float16: the dtype that W had
  Tensor codes;     ///< ceil(rows · columns / 2) bytes, of any shape and dtype (quant_storage); the first of two elements in the high half
  Tensor absmax;    ///< float32 [blocks]; uint8 [blocks] with `nested`
  Tensor codebook;  ///< float32 [16]
  std::optional<NestedScales> nested = {};
};

/// NF4 and FP4 (Dettmers et al. 2023): two formats that differ only in their codebooks.
class Blockwise4 : public io::PackedMatrix {
 public:
  /// @param where for errors: file and tensor.
  /// Throws model Error if a part does not have the size or dtype that the others determine.
  Blockwise4(Blockwise4Parts parts, const std::string& where);

  /// Codes and scales are one-dimensional, codes are uint8.
  const Blockwise4Parts& parts() const { return parts_; }

  int64_t out_features() const override { return parts_.rows; }
  int64_t in_features() const override { return parts_.columns; }
  /// "nf4", or "nf4-dq" if scales are quantised too.
  std::string format() const override;
  at::Device device() const override { return parts_.codes.device(); }
  at::ScalarType value_dtype() const override { return parts_.value_dtype; }
  int64_t column_step() const override { return 64; }

  /// bitsandbytes' forward pass decodes to the inputs' dtype at once. Its backward pass and its dequantize_4bit round to value_dtype first.
  std::shared_ptr<const io::PackedMatrix> in_forward(at::ScalarType dtype) const override;
  void decode(const io::Tile& tile, at::ScalarType dtype, void* out, int64_t stride) const override;
  void multiply_rows(const float* x_TI, int64_t tokens, int64_t row_begin, int64_t row_end, float* y, int64_t stride) const override;
  Tensor decoded(const io::Tile& tile, at::ScalarType dtype) const override;
  std::optional<io::BlockCodes> block_codes() const override;

  std::shared_ptr<const io::PackedMatrix> to(at::Device device) const override;
  /// "codes", "absmax", "quant_map"; if scales are quantised "nested_absmax", "nested_quant_map" and "nested_offset" (float32, 0-dim).
  std::map<std::string, Tensor> tensors() const override;

 private:
  /// The scales of blocks [first, last) in float32; a pointer into `buffer` if they have to be computed.
  const float* scales(int64_t first, int64_t last, std::vector<float>& buffer) const;

  Blockwise4Parts parts_;
};

/// The codebook of "nf4" or "fp4", float32 [16]; throws std::invalid_argument for another name.
Tensor codebook4(const std::string& format);

}  // namespace lora::quantization
