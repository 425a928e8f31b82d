#pragma once
#include "lora/quantization/scaled_codes.h"
#include "quantization/packed_format.h"

namespace lora::quantization {

/// The blocks that a format says share scales, as far as it says so.
struct BlockSize {
  int64_t rows = 0;     ///< 0: not said
  int64_t columns = 0;  ///< 0: not said
};

/// Sets block_rows and block_columns of a matrix whose rows and columns are known from the shape of its scales: one for all, one for each
/// row, or a grid of blocks. Throws model Error if they are neither.
/// @param shape of the part `name`; returned as [B, G].
std::vector<int64_t> set_blocks(const Parts& parts, const std::string& name, std::vector<int64_t> shape, BlockSize size,
                                ScaledCodesParts& matrix);

/// 2^(b - 127) for each byte b (UE8M0, of any dtype with one byte), float32; 255 is NaN.
Tensor powers_of_two(const Tensor& exponents);

}  // namespace lora::quantization
