#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

#include "lora/io/packed_matrix.h"
#include "lora/ops/gguf_block.h"

/// Decoding of packed matrices on a GPU by the program's own kernels, for formats that are no io::BlockCodes. The results have the bits of
/// the CPU's. Tensors are contiguous and on one device.
namespace lora::ops {

using at::Tensor;

/// W[o, i] = (value(code[o, i]) - zero[b, g]) · scale[b, g], where b = o / block_rows and g = i / block_columns, or g = groups[i]. The
/// value, the difference and the product are each rounded to the dtype of the scales.
struct GridCodes {
  int64_t bits;  ///< of a code: 1 to 8
  bool is_signed;
  int64_t block_rows, block_columns;
  Tensor codes;   ///< uint8 [rows, bytes of a row]: each row is a little-endian bit stream
  Tensor table;   ///< float32 [2^bits], the values of the codes; undefined: they are integers
  Tensor scales;  ///< [B, G], float32, bfloat16 or float16
  Tensor zeros;   ///< [B, G] or one element, in the dtype of the scales; undefined: 0
  Tensor groups;  ///< int32 [columns]; undefined: i / block_columns
};

/// A matrix in blocks of ggml, one row after the other.
struct GgufCodes {
  GgufBlock format;
  Tensor blocks;  ///< uint8
  int64_t columns;
};

/// Whether there are kernels for `device`.
bool decodes_on(at::Device device);

/// The values of a tile [rows, columns] in `dtype`; nothing if there are no kernels for its device.
std::optional<Tensor> decoded_on_device(const GridCodes& codes, const io::Tile& tile, at::ScalarType dtype);
std::optional<Tensor> decoded_on_device(const GgufCodes& codes, const io::Tile& tile, at::ScalarType dtype);

}  // namespace lora::ops
