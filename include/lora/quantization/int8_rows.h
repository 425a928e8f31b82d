#pragma once
#include <string>

#include "lora/io/packed_matrix.h"

namespace lora::quantization {

using at::Tensor;

/// A matrix in LLM.int8()'s format (Dettmers et al. 2022), weights only: each row has 8-bit codes and one scale.
/// W[o, i] = codes[o, i] · scales[o] · (1 / 127), in float32 from left to right, rounded to value_dtype.
class Int8Rows : public io::PackedMatrix {
 public:
  /// @param codes int8 [O, I]
  /// @param scales float32 [O], the largest magnitude of each row: bitsandbytes' SCB
  /// @param value_dtype float32, bfloat16 or float16
  /// @param where for errors: file and tensor. Throws model Error if a shape or dtype is another.
  Int8Rows(Tensor codes, Tensor scales, at::ScalarType value_dtype, const std::string& where);

  int64_t out_features() const override { return codes_.size(0); }
  int64_t in_features() const override { return codes_.size(1); }
  std::string format() const override { return "int8"; }
  at::Device device() const override { return codes_.device(); }
  at::ScalarType value_dtype() const override { return value_dtype_; }

  void decode(const io::Tile& tile, at::ScalarType dtype, void* out, int64_t stride) const override;
  void multiply_rows(const float* x_TI, int64_t tokens, int64_t row_begin, int64_t row_end, float* y, int64_t stride) const override;
  Tensor decoded(const io::Tile& tile, at::ScalarType dtype) const override;
  std::optional<io::BlockCodes> block_codes() const override;

  std::shared_ptr<const io::PackedMatrix> to(at::Device device) const override;
  /// "codes" and "scales".
  std::map<std::string, Tensor> tensors() const override;

 private:
  Tensor codes_, scales_;
  at::ScalarType value_dtype_;
};

}  // namespace lora::quantization
