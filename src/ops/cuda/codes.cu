// Matrices of 4- and 8-bit codes: decoding of tiles, and products with few tokens. Formulas and layout: CudaCodes.
#include "ops/cuda/device.cuh"

namespace lora::ops {
namespace device {
namespace {

/// All threads of the block call it before any of them returns.
__device__ __forceinline__ const float* shared_table(const CudaCodes& matrix) {
  __shared__ float table[16];
  const int thread = static_cast<int>(threadIdx.y * blockDim.x + threadIdx.x);
  if (matrix.table != nullptr && thread < 16) {
    table[thread] = matrix.table[thread];
  }
  __syncthreads();
  return table;
}

/// The scale of a block. (The module is compiled without contraction of products and sums: the same bits as on the CPU.)
__device__ __forceinline__ float scale_of(const CudaCodes& matrix, int64_t block) {
  if (matrix.nested_table == nullptr) {
    return static_cast<const float*>(matrix.scales)[block];
  }
  const float value = matrix.nested_table[static_cast<const uint8_t*>(matrix.scales)[block]];
  return value * matrix.nested_scales[block / matrix.nested_block_size] + matrix.offset;
}

/// The value of an element's code.
__device__ __forceinline__ float coded(const CudaCodes& matrix, const float* table, int64_t element) {
  if (matrix.table == nullptr) {
    return static_cast<float>(static_cast<const int8_t*>(matrix.codes)[element]);
  }
  const unsigned byte = static_cast<const uint8_t*>(matrix.codes)[element / 2];
  return table[element % 2 == 0 ? byte >> 4 : byte & 15];
}

__device__ __forceinline__ float rounded_to(CudaDtype dtype, float value) {
  return dtype == CudaDtype::kBFloat16  ? rounded<__nv_bfloat16>(value)
         : dtype == CudaDtype::kFloat16 ? rounded<__half>(value)
                                        : value;
}

/// One thread per pack of a row.
template <typename T, int N>
__global__ void decode_kernel(CudaDecode a) {
  const float* table = shared_table(a.matrix);
  const int64_t column = column_pack() * N;
  if (column >= a.columns) {
    return;
  }
  const int64_t row = blockIdx.x;
  const int64_t first = (a.row_begin + row) * a.matrix.columns + a.column_begin + column;
  int64_t block = first / a.matrix.block_size;
  float scale = scale_of(a.matrix, block);
  Pack<T, N> pack;
  for (int j = 0; j < N; ++j) {
    if (first + j >= (block + 1) * a.matrix.block_size) {
      scale = scale_of(a.matrix, ++block);
    }
    float value = coded(a.matrix, table, first + j) * scale;
    value = a.matrix.unit == 1.0F ? value : value * a.matrix.unit;
    pack.values[j] = static_cast<T>(rounded_to(a.value_dtype, value));
  }
  store<N>(static_cast<T*>(a.out) + row * a.columns + column, pack);
}

/// One warp per output. A pack is in one block: columns and blocks are multiples of N.
template <typename T, int N>
__global__ void multiply_codes_kernel(CudaMultiplyCodes a) {
  const float* table = shared_table(a.matrix);
  const Team team = this_team();
  if (team.row >= a.outputs) {
    return;  // a whole warp, see team_shape
  }
  const int64_t begin = team.row * a.matrix.columns;
  float sums[kMostCodedTokens] = {};
  for (int64_t i = team.lane * N; i < a.matrix.columns; i += team.lanes * N) {
    const float scale = scale_of(a.matrix, (begin + i) / a.matrix.block_size);
    float values[N];
    for (int j = 0; j < N; ++j) {
      values[j] = coded(a.matrix, table, begin + i + j) * scale;
    }
    for (int t = 0; t < static_cast<int>(kMostCodedTokens); ++t) {
      if (t < a.tokens) {
        const Pack<T, N> x = load<N>(static_cast<const T*>(a.x) + t * a.matrix.columns + i);
        for (int j = 0; j < N; ++j) {
          sums[t] += values[j] * static_cast<float>(x.values[j]);
        }
      }
    }
  }
  for (int t = 0; t < a.tokens; ++t) {
    const float sum = combined_in_warp<Sum>(sums[t]);
    if (team.lane == 0) {
      static_cast<T*>(a.y)[t * a.outputs + team.row] = static_cast<T>(sum * a.matrix.unit);
    }
  }
}

}  // namespace
}  // namespace device

extern "C" int32_t lora_cuda_decode(const CudaPlace* place, const CudaDecode* arguments) {
  const CudaDecode& a = *arguments;
  if (a.rows == 0 || a.columns == 0) {
    return cudaSuccess;
  }
  return device::dispatch(a.dtype, {a.out}, {a.columns}, [&]<typename T, int N>() {
    return device::launch(device::decode_kernel<T, N>, device::column_shape(a.rows, device::divided_up(a.columns, N)), *place, a);
  });
}

extern "C" int32_t lora_cuda_multiply_codes(const CudaPlace* place, const CudaMultiplyCodes* arguments) {
  constexpr int64_t kOutputsPerBlock = 4;
  const CudaMultiplyCodes& a = *arguments;
  if (a.tokens < 0 || a.tokens > kMostCodedTokens) {
    return cudaErrorInvalidValue;
  }
  if (a.tokens == 0 || a.outputs == 0) {
    return cudaSuccess;
  }
  const device::Shape shape{dim3(static_cast<unsigned>(device::divided_up(a.outputs, kOutputsPerBlock))),
                            dim3(device::kWarp, kOutputsPerBlock)};
  return device::dispatch(a.dtype, {a.x}, {a.matrix.columns, a.matrix.block_size}, [&]<typename T, int N>() {
    return device::launch(device::multiply_codes_kernel<T, N>, shape, *place, a);
  });
}

}  // namespace lora::ops
