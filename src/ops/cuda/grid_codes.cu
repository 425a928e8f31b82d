// Matrices of codes with scales on a grid (GPTQ, AWQ, HQQ, compressed-tensors, FP8). Formula: CudaDecodeGrid.
#include "ops/cuda/device.cuh"

namespace lora::ops {
namespace device {
namespace {

/// Code i of a row. No byte after it is read.
__device__ __forceinline__ int code_at(const uint8_t* row, int64_t index, int bits) {
  const int64_t bit = index * bits;
  const int shift = static_cast<int>(bit % 8);
  unsigned word = row[bit / 8];
  if (shift + bits > 8) {
    word |= static_cast<unsigned>(row[bit / 8 + 1]) << 8;
  }
  return static_cast<int>(word >> shift & ((1U << bits) - 1));
}

/// One thread per pack of a row. V: the dtype of scales and values.
template <typename V, typename T, int N>
__device__ __forceinline__ void decode_pack(const CudaDecodeGrid& a) {
  const int64_t column = column_pack() * N;
  if (column >= a.columns) {
    return;
  }
  const int64_t row = a.row_begin + blockIdx.x;
  const auto* codes = static_cast<const uint8_t*>(a.codes) + row * a.row_bytes;
  const int64_t grid_row = row / a.block_rows * a.scale_columns;
  const V* scales = static_cast<const V*>(a.scales) + grid_row;
  const V* zeros = static_cast<const V*>(a.zeros);
  Pack<T, N> pack;
  int64_t group = -1;
  float scale = 0, zero = 0;
  for (int j = 0; j < N; ++j) {
    const int64_t i = a.column_begin + column + j;
    const int64_t own = a.groups != nullptr ? a.groups[i] : i / a.block_columns;
    if (own != group) {
      group = own;
      scale = static_cast<float>(scales[group]);
      zero = zeros == nullptr ? 0.0F : static_cast<float>(a.one_zero ? zeros[0] : zeros[grid_row + group]);
    }
    const int code = code_at(codes, i, static_cast<int>(a.bits));
    const float value = a.table != nullptr ? a.table[code] : static_cast<float>(a.is_signed ? static_cast<int8_t>(code) : code);
    pack.values[j] = static_cast<T>(rounded<V>(rounded<V>(rounded<V>(value) - zero) * scale));
  }
  store<N>(static_cast<T*>(a.out) + static_cast<int64_t>(blockIdx.x) * a.columns + column, pack);
}

template <typename T, int N>
__global__ void decode_grid_kernel(CudaDecodeGrid a) {
  switch (a.value_dtype) {
    case CudaDtype::kFloat32:
      return decode_pack<float, T, N>(a);
    case CudaDtype::kBFloat16:
      return decode_pack<__nv_bfloat16, T, N>(a);
    case CudaDtype::kFloat16:
      return decode_pack<__half, T, N>(a);
  }
}

}  // namespace
}  // namespace device

extern "C" int32_t lora_cuda_decode_grid(const CudaPlace* place, const CudaDecodeGrid* arguments) {
  const CudaDecodeGrid& a = *arguments;
  if (a.rows == 0 || a.columns == 0) {
    return cudaSuccess;
  }
  return device::dispatch(a.dtype, {a.out}, {a.columns}, [&]<typename T, int N>() {
    return device::launch(device::decode_grid_kernel<T, N>, device::column_shape(a.rows, device::divided_up(a.columns, N)), *place, a);
  });
}

}  // namespace lora::ops
