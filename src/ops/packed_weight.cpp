#include "lora/ops/packed_weight.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "lora/ops/parallel.h"
#include "ops/gemm.h"

namespace lora::ops {

namespace {

/// Elements of W that are decoded at a time: 4 MiB in bfloat16.
constexpr int64_t kTileElements = int64_t{1} << 21;
/// Up to so many rows of x are multiplied one by one by the packed numbers: decoding a tile would take longer.
constexpr int64_t kFewRows = 4;

/// Decodes a tile into the first elements of `scratch`, on all threads: [rows, columns].
Tensor decode(const io::PackedMatrix& matrix, const io::Tile& tile, const Tensor& scratch) {
  if (!matrix.device().is_cpu()) {
    return matrix.decoded(tile, scratch.scalar_type());
  }
  const Tensor values = scratch.narrow(0, 0, tile.rows() * tile.columns()).view({tile.rows(), tile.columns()});
  char* const out = static_cast<char*>(values.mutable_data_ptr());
  const int64_t row_bytes = tile.columns() * static_cast<int64_t>(values.element_size());
  parallel_for(0, tile.rows(), std::max<int64_t>(1, 16384 / tile.columns()), [&](int64_t first, int64_t last) {
    matrix.decode({tile.row_begin + first, tile.row_begin + last, tile.column_begin, tile.column_end}, values.scalar_type(),
                  out + first * row_bytes, tile.columns());
  });
  return values;
}

/// Memory for the largest tile of `count` rows or columns of `length` elements each.
Tensor scratch_for(int64_t count, int64_t length, int64_t step, const at::TensorOptions& options) {
  return options.device().is_cpu() ? at::empty({std::min(count, step) * length}, options) : at::empty({0}, options);
}

/// How many rows or columns of `length` elements are in a tile: a multiple of `unit`.
int64_t tile_step(int64_t length, int64_t unit) {
  return std::max(unit, kTileElements / std::max<int64_t>(1, length) / unit * unit);
}

}  // namespace

int64_t PackedWeight::working_bytes(int64_t tokens) const {
  const auto elements = [tokens](int64_t count, int64_t length, int64_t unit) {
    return std::min(count, tile_step(length, unit)) * (length + tokens);
  };
  const int64_t most = std::max(elements(out_features(), in_features(), 1), elements(in_features(), out_features(), matrix_->column_step()));
  return most * static_cast<int64_t>(at::elementSize(dtype_));
}

Tensor PackedWeight::multiply(const Tensor& x_TI, const std::optional<Tensor>& bias_O) const {
  const int64_t outputs = out_features(), inputs = in_features();
  if (device().is_cpu() && x_TI.size(0) <= kFewRows) {
    const Tensor x = x_TI.to(at::kFloat).contiguous(), y = at::empty({x.size(0), outputs}, x.options());
    for (int64_t t = 0; t < x.size(0); ++t) {
      const float* const row = x.const_data_ptr<float>() + t * inputs;
      float* const out = y.mutable_data_ptr<float>() + t * outputs;
      parallel_for(0, outputs, std::max<int64_t>(1, 32768 / std::max<int64_t>(1, inputs)),
                   [&](int64_t first, int64_t last) { matrix_->multiply_rows(row, first, last, out + first); });
    }
    return (bias_O ? y + *bias_O : y).to(dtype_);
  }
  const int64_t step = tile_step(inputs, 1);
  const Tensor scratch = scratch_for(outputs, inputs, step, x_TI.options());
  const Tensor y_TO = at::empty({x_TI.size(0), outputs}, x_TI.options());
  for (int64_t begin = 0; begin < outputs; begin += step) {
    const int64_t end = std::min(begin + step, outputs);
    const Tensor W_NI = decode(*matrix_, {begin, end, 0, inputs}, scratch);
    y_TO.narrow(1, begin, end - begin).copy_(gemm(x_TI, W_NI.t()));
  }
  return bias_O ? y_TO.add_(*bias_O) : y_TO;
}

Tensor PackedWeight::multiply_transposed(const Tensor& dy_TO, const std::optional<Tensor>& sum_TI) const {
  const int64_t outputs = out_features(), inputs = in_features();
  const int64_t step = tile_step(outputs, matrix_->column_step());
  const Tensor scratch = scratch_for(inputs, outputs, step, dy_TO.options());
  const Tensor dx_TI = sum_TI ? *sum_TI : at::empty({dy_TO.size(0), inputs}, dy_TO.options());
  for (int64_t begin = 0; begin < inputs; begin += step) {
    const int64_t end = std::min(begin + step, inputs);
    const Tensor part_TN = dx_TI.narrow(1, begin, end - begin), W_ON = decode(*matrix_, {0, outputs, begin, end}, scratch);
    if (sum_TI) {
      part_TN.add_(gemm(dy_TO, W_ON));
    } else {
      part_TN.copy_(gemm(dy_TO, W_ON));
    }
  }
  return dx_TI;
}

Tensor PackedWeight::row_norms(at::ScalarType dtype) const {
  const int64_t outputs = out_features(), step = tile_step(in_features(), 1);
  const Tensor norm_O = at::empty({outputs}, at::TensorOptions(dtype).device(device()));
  for (int64_t begin = 0; begin < outputs; begin += step) {
    const int64_t end = std::min(begin + step, outputs);
    norm_O.narrow(0, begin, end - begin).copy_(at::linalg_vector_norm(rows(begin, end), 2, {1}, /*keepdim=*/false, dtype));
  }
  return norm_O;
}

Tensor PackedWeight::rows(int64_t begin, int64_t end) const {
  return matrix_->decoded({begin, end, 0, in_features()}, dtype_);
}

Tensor PackedWeight::dequantised() const {
  return io::decoded(*matrix_, dtype_);
}

}  // namespace lora::ops
