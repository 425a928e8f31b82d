#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

namespace lora::io {

using at::Tensor;

/// Rows [row_begin, row_end) and columns [column_begin, column_end) of a matrix.
struct Tile {
  int64_t row_begin;
  int64_t row_end;
  int64_t column_begin;
  int64_t column_end;

  int64_t rows() const { return row_end - row_begin; }
  int64_t columns() const { return column_end - column_begin; }
};

/// A matrix whose elements, row after row, have codes, and blocks of them a scale: what a device's own kernels decode.
/// W[e] = value of code e · scale of block e / block_size · unit, in float32.
struct BlockCodes {
  Tensor codes;     ///< uint8: two 4-bit codes, the first in the high half, whose values are in `table`; or int8: the values themselves
  Tensor table;     ///< float32 [16]; undefined for int8
  Tensor scales;    ///< float32; or uint8: scale b = nested_table[scales[b]] · nested_scales[b / nested_block_size] + offset
  int64_t block_size;
  float unit = 1;
  Tensor nested_scales = {}, nested_table = {};  ///< float32
  int64_t nested_block_size = 0;
  float offset = 0;
};

/// A matrix W [O, I] in fewer bits than plain numbers: codes, and scales of blocks of them. The set of formats is open: each is a class
/// of the area quantization. A matrix never changes, and it may lie in the mapped memory of its file. O outputs, I inputs.
class PackedMatrix {
 public:
  virtual ~PackedMatrix() = default;

  virtual int64_t out_features() const = 0;
  virtual int64_t in_features() const = 0;
  /// The format's name, such as "nf4", "int8" or "Q4_K", for messages and lists.
  virtual std::string format() const = 0;
  /// Bytes of all its tensors.
  virtual int64_t bytes() const;
  virtual at::Device device() const = 0;
  /// The dtype that the format gives its values: each is rounded to it before anything is computed with it.
  virtual at::ScalarType value_dtype() const = 0;
  /// The matrix that forward products in `dtype` multiply by, if the format's own implementation rounds values in another way there;
  /// null: this one.
  virtual std::shared_ptr<const PackedMatrix> in_forward([[maybe_unused]] at::ScalarType dtype) const { return nullptr; }
  /// Whether its scales, and hence its values, are numbers: neither NaN nor infinite.
  virtual bool is_finite() const;
  /// The columns of tiles should begin at multiples of this, so that blocks are not cut.
  virtual int64_t column_step() const { return 1; }

  /// Writes the values of a tile to `out`, in value_dtype() and then in `dtype` (float32, bfloat16 or float16), by one thread. Rows
  /// of `out` begin `stride` elements apart. Only on the CPU.
  virtual void decode(const Tile& tile, at::ScalarType dtype, void* out, int64_t stride) const = 0;
  /// y[t · stride + o - row_begin] = Σ W[o, i] x[t, i] for the rows [row_begin, row_end) and a few tokens, in float32, by one thread. The
  /// bits do not depend on the number of tokens. A format may keep the values in float32 instead of rounding them to value_dtype(). Only
  /// on the CPU.
  virtual void multiply_rows(const float* x_TI, int64_t tokens, int64_t row_begin, int64_t row_end, float* y, int64_t stride) const;
  /// What kernels of a device need, if they know the format. They compute the same as decoded().
  virtual std::optional<BlockCodes> block_codes() const { return std::nullopt; }
  /// The values of a tile as a tensor [rows, columns] on device().
  virtual Tensor decoded(const Tile& tile, at::ScalarType dtype) const;

  /// The same matrix on another device.
  virtual std::shared_ptr<const PackedMatrix> to(at::Device device) const = 0;
  /// Its tensors by what they are in the format ("codes", "absmax", …): they determine it.
  virtual std::map<std::string, Tensor> tensors() const = 0;
};

/// All of W [O, I] in `dtype`.
Tensor decoded(const PackedMatrix& matrix, at::ScalarType dtype);

}  // namespace lora::io
