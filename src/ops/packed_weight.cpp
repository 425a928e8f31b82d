#include "lora/ops/packed_weight.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "lora/ops/parallel.h"
#include "ops/cuda_kernels.h"
#include "ops/decoded_product.h"
#include "ops/gemm.h"

namespace lora::ops {

namespace {

/// Elements of W that are decoded at a time: 16 MiB in bfloat16. Products with tiles of 1024 rows take 5 % longer than one with the whole
/// matrix, with tiles of 372 rows 50 %.
constexpr int64_t kTileElements = int64_t{1} << 23;
/// The same on other devices: 128 MiB in bfloat16, almost every weight as a whole.
constexpr int64_t kDeviceTileElements = int64_t{1} << 26;
/// Tiles begin at rows that are multiples of this.
constexpr int64_t kRowUnit = 64;
/// A thread decodes at least this many elements.
constexpr int64_t kElementsPerThread = 32768;
/// Up to this many rows of x are multiplied one by one by the packed numbers: decoding a tile would take longer.
constexpr int64_t kFewRows = 4;

/// Memory for a tile of `elements` elements. Each thread that multiplies (a lane) keeps one, of the size of its largest tile.
Tensor tile_memory(int64_t elements, at::ScalarType dtype) {
  thread_local Tensor bytes;
  const int64_t size = elements * static_cast<int64_t>(at::elementSize(dtype));
  if (!bytes.defined() || bytes.numel() < size) {
    bytes.reset();  // before the larger one is allocated
    bytes = at::empty({size}, at::kByte);
  }
  return bytes.narrow(0, 0, size).view(dtype);
}

/// The values of a tile by the device's own kernel, or else by LibTorch's operators. The device's allocator keeps the memory of one tile
/// for the next one of its stream.
Tensor decoded_on_device(const io::PackedMatrix& matrix, const io::Tile& tile, at::ScalarType dtype) {
  const std::optional<io::BlockCodes> codes = matrix.block_codes();
  const CudaKernels* const kernels = codes ? cuda_kernels(codes->nested_table.defined() ? codes->nested_table : codes->scales) : nullptr;
  return kernels != nullptr ? decode_cuda(*kernels, *codes, matrix.in_features(), tile, matrix.value_dtype(), dtype)
                            : matrix.decoded(tile, dtype);
}

/// The values of a tile [rows, columns], decoded on all threads. They hold until the thread decodes the next one.
Tensor decoded_tile(const io::PackedMatrix& matrix, const io::Tile& tile, at::ScalarType dtype) {
  if (!matrix.device().is_cpu()) {
    return decoded_on_device(matrix, tile, dtype);
  }
  const Tensor values = tile_memory(tile.rows() * tile.columns(), dtype).view({tile.rows(), tile.columns()});
  char* const out = static_cast<char*>(values.mutable_data_ptr());
  const int64_t row_bytes = tile.columns() * static_cast<int64_t>(values.element_size());
  parallel_for(0, tile.rows(), std::max<int64_t>(1, kElementsPerThread / tile.columns()), [&](int64_t first, int64_t last) {
    matrix.decode({tile.row_begin + first, tile.row_begin + last, tile.column_begin, tile.column_end}, dtype, out + first * row_bytes,
                  tile.columns());
  });
  return values;
}

/// How many of `count` rows or columns of `length` elements each are in a tile: a multiple of `unit`. Tiles are about equal.
int64_t tile_step(const io::PackedMatrix& matrix, int64_t count, int64_t length, int64_t unit) {
  const int64_t elements = matrix.device().is_cpu() ? kTileElements : kDeviceTileElements;
  const int64_t most = std::max(unit, elements / std::max<int64_t>(1, length)), tiles = std::max<int64_t>(1, (count + most - 1) / most);
  return std::max(unit, ((count + tiles - 1) / tiles + unit - 1) / unit * unit);
}

/// Calls run(begin, end) for parts of [0, count), rows or columns of `length` elements each, that are tiles. Parts begin at multiples of
/// `unit`.
template <typename Run>
void for_each_tile(const io::PackedMatrix& matrix, int64_t count, int64_t length, int64_t unit, const Run& run) {
  const int64_t step = tile_step(matrix, count, length, unit);
  for (int64_t begin = 0; begin < count; begin += step) {
    run(begin, std::min(begin + step, count));
  }
}

/// x Wᵀ for a few rows of x, from the packed numbers, in float32.
Tensor multiply_few(const io::PackedMatrix& matrix, const Tensor& x_TI) {
  const int64_t tokens = x_TI.size(0), outputs = matrix.out_features(), inputs = matrix.in_features();
  const Tensor x = x_TI.to(at::kFloat).contiguous(), y_TO = at::empty({tokens, outputs}, x.options());
  const auto* const from = x.const_data_ptr<float>();
  auto* const to = y_TO.mutable_data_ptr<float>();
  parallel_for(0, outputs, std::max<int64_t>(1, kElementsPerThread / std::max<int64_t>(1, inputs)), [&](int64_t first, int64_t last) {
    matrix.multiply_rows(from, tokens, first, last, to + first, outputs);
  });
  return y_TO;
}

}  // namespace

PackedWeight::PackedWeight(std::shared_ptr<const io::PackedMatrix> matrix, at::ScalarType dtype)
    : matrix_(std::move(matrix)), forward_(matrix_->in_forward(dtype)), dtype_(dtype) {
  if (forward_ == nullptr) {
    forward_ = matrix_;
  }
}

int64_t PackedWeight::tile_bytes() const {
  const auto elements = [this](int64_t count, int64_t length, int64_t unit) {
    return std::min(count, tile_step(*matrix_, count, length, unit)) * length;
  };
  const int64_t rows = elements(out_features(), in_features(), kRowUnit);
  const int64_t columns = elements(in_features(), out_features(), matrix_->column_step());
  const int64_t blocks = cpu::multiplies_decoded_blocks(*matrix_, dtype_) ? cpu::decoded_product_bytes(*matrix_) : 0;
  return std::max(std::max(rows, columns) * static_cast<int64_t>(at::elementSize(dtype_)), blocks);
}

Tensor PackedWeight::multiply(const Tensor& x_TI, const std::optional<Tensor>& bias_O) const {
  const at::NoGradGuard no_grad;
  const int64_t outputs = out_features(), inputs = in_features(), tokens = x_TI.size(0);
  if (device().is_cpu() && tokens <= kFewRows) {
    const Tensor y_TO = multiply_few(*forward_, x_TI);
    return (bias_O ? y_TO.add_(*bias_O) : y_TO).to(dtype_);
  }
  if (cpu::multiplies_decoded_blocks(*forward_, dtype_)) {
    const Tensor y_TO = at::empty({tokens, outputs}, x_TI.options());
    cpu::multiply_decoded(*forward_, x_TI, bias_O, y_TO);
    return y_TO;
  }
  if (tokens <= kMostCodedTokens && !device().is_cpu()) {
    const std::optional<io::BlockCodes> codes = forward_->block_codes();
    if (const CudaKernels* const kernels = cuda_kernels(x_TI); kernels != nullptr && codes) {
      const Tensor y_TO = multiply_codes_cuda(*kernels, *codes, outputs, x_TI);
      return bias_O ? y_TO.add_(*bias_O) : y_TO;
    }
  }
  const Tensor y_TO = bias_O ? bias_O->expand({tokens, outputs}).contiguous() : at::empty({tokens, outputs}, x_TI.options());
  for_each_tile(*matrix_, outputs, inputs, kRowUnit, [&](int64_t begin, int64_t end) {
    const Tensor W_NI = decoded_tile(*forward_, {begin, end, 0, inputs}, dtype_);
    gemm_(y_TO.narrow(1, begin, end - begin), x_TI, W_NI.t(), bias_O ? 1 : 0);
  });
  return y_TO;
}

Tensor PackedWeight::multiply_transposed(const Tensor& dy_TO, const std::optional<Tensor>& sum_TI) const {
  const at::NoGradGuard no_grad;
  const int64_t outputs = out_features(), inputs = in_features();
  const Tensor dx_TI = sum_TI ? *sum_TI : at::empty({dy_TO.size(0), inputs}, dy_TO.options());
  if (cpu::multiplies_decoded_blocks(*matrix_, dtype_) && dx_TI.stride(1) == 1) {
    cpu::multiply_decoded_transposed(*matrix_, dy_TO, dx_TI, sum_TI.has_value());
    return dx_TI;
  }
  // Tiles of columns: the sum of tiles of rows would be rounded to dtype() after each of them.
  for_each_tile(*matrix_, inputs, outputs, matrix_->column_step(), [&](int64_t begin, int64_t end) {
    const Tensor W_ON = decoded_tile(*matrix_, {0, outputs, begin, end}, dtype_);
    gemm_(dx_TI.narrow(1, begin, end - begin), dy_TO, W_ON, sum_TI ? 1 : 0);
  });
  return dx_TI;
}

Tensor PackedWeight::row_norms(at::ScalarType dtype) const {
  const Tensor norm_O = at::empty({out_features()}, at::TensorOptions(dtype).device(device()));
  for_each_tile(*matrix_, out_features(), in_features(), kRowUnit, [&](int64_t begin, int64_t end) {
    const Tensor W_NI = decoded_tile(*matrix_, {begin, end, 0, in_features()}, dtype_);
    norm_O.narrow(0, begin, end - begin).copy_(at::linalg_vector_norm(W_NI, 2, {1}, /*keepdim=*/false, dtype));
  });
  return norm_O;
}

Tensor PackedWeight::rows(int64_t begin, int64_t end) const {
  return matrix_->decoded({begin, end, 0, in_features()}, dtype_);
}

Tensor PackedWeight::dequantised() const {
  return io::decoded(*matrix_, dtype_);
}

}  // namespace lora::ops
