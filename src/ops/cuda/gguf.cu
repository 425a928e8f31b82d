// ggml's blocks (ggml-common.h, ggml-quants.c). A format is a struct with the bytes and elements of a block, scales(), what the elements of
// a group of 16 share, and code(), the number of element i. A value is scale · code + least, in the order of the CPU's decode_gguf.
#include <cstring>

#include "ops/cuda/device.cuh"

namespace lora::ops {
namespace device {
namespace {

constexpr int kGroup = 16;

/// `least` is added; formats without one must not add 0, which would change the sign of zeros.
struct GroupScale {
  float scale, least;
};

__device__ __forceinline__ float half_at(const uint8_t* bytes) {
  __half value;
  std::memcpy(&value, bytes, sizeof(value));
  return static_cast<float>(value);
}

__device__ __forceinline__ unsigned word_at(const uint8_t* bytes) {
  return bytes[0] | static_cast<unsigned>(bytes[1]) << 8 | static_cast<unsigned>(bytes[2]) << 16 | static_cast<unsigned>(bytes[3]) << 24;
}

/// 32 elements in 16 bytes: the low nibbles are the first 16.
__device__ __forceinline__ int nibble(const uint8_t* bytes, int i) {
  return bytes[i % 16] >> (i / 16 * 4) & 15;
}

__device__ __forceinline__ float nonlinear(int code) {
  constexpr int8_t kValues[16]{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
  return static_cast<float>(kValues[code]);
}

struct Q4_0 {
  static constexpr int kBytes = 18, kElements = 32;
  static constexpr bool kHasLeast = false;
  static __device__ GroupScale scales(const uint8_t* block, int) { return {half_at(block), 0}; }
  static __device__ float code(const uint8_t* block, int i) { return static_cast<float>(nibble(block + 2, i) - 8); }
};

struct Q4_1 {
  static constexpr int kBytes = 20, kElements = 32;
  static constexpr bool kHasLeast = true;
  static __device__ GroupScale scales(const uint8_t* block, int) { return {half_at(block), half_at(block + 2)}; }
  static __device__ float code(const uint8_t* block, int i) { return static_cast<float>(nibble(block + 4, i)); }
};

struct Q5_0 {
  static constexpr int kBytes = 22, kElements = 32;
  static constexpr bool kHasLeast = false;
  static __device__ GroupScale scales(const uint8_t* block, int) { return {half_at(block), 0}; }
  static __device__ float code(const uint8_t* block, int i) {
    return static_cast<float>((nibble(block + 6, i) | static_cast<int>(word_at(block + 2) >> i & 1) << 4) - 16);
  }
};

struct Q5_1 {
  static constexpr int kBytes = 24, kElements = 32;
  static constexpr bool kHasLeast = true;
  static __device__ GroupScale scales(const uint8_t* block, int) { return {half_at(block), half_at(block + 2)}; }
  static __device__ float code(const uint8_t* block, int i) {
    return static_cast<float>(nibble(block + 8, i) | static_cast<int>(word_at(block + 4) >> i & 1) << 4);
  }
};

struct Q8_0 {
  static constexpr int kBytes = 34, kElements = 32;
  static constexpr bool kHasLeast = false;
  static __device__ GroupScale scales(const uint8_t* block, int) { return {half_at(block), 0}; }
  static __device__ float code(const uint8_t* block, int i) { return static_cast<float>(static_cast<int8_t>(block[2 + i])); }
};

struct Q2_K {
  static constexpr int kBytes = 84, kElements = 256;
  static constexpr bool kHasLeast = true;
  static __device__ GroupScale scales(const uint8_t* block, int group) {
    const float d = half_at(block + 80), dmin = half_at(block + 82);
    return {d * static_cast<float>(block[group] & 15), -(dmin * static_cast<float>(block[group] >> 4))};
  }
  static __device__ float code(const uint8_t* block, int i) {
    return static_cast<float>(block[16 + i / 128 * 32 + i % 32] >> (i / 32 % 4 * 2) & 3);
  }
};

struct Q3_K {
  static constexpr int kBytes = 110, kElements = 256;
  static constexpr bool kHasLeast = false;
  static __device__ GroupScale scales(const uint8_t* block, int group) {
    const uint8_t* s = block + 96;
    const int low = group < 8 ? s[group] & 15 : s[group - 8] >> 4;
    const int high = s[8 + group % 4] >> (group / 4 * 2) & 3;
    return {half_at(block + 108) * static_cast<float>((low | high << 4) - 32), 0};
  }
  static __device__ float code(const uint8_t* block, int i) {
    const int low = block[32 + i / 128 * 32 + i % 32] >> (i / 32 % 4 * 2) & 3;
    return static_cast<float>(low - ((block[i % 32] >> (i / 32) & 1) ^ 1) * 4);
  }
};

/// The scale and the minimum of sub-block j, of 6 bits each in 12 bytes.
__device__ __forceinline__ GroupScale scales_of_6_bits(const uint8_t* block, int j) {
  const uint8_t* s = block + 4;
  const int scale = j < 4 ? s[j] & 63 : (s[4 + j] & 15) | s[j - 4] >> 6 << 4;
  const int least = j < 4 ? s[4 + j] & 63 : s[4 + j] >> 4 | s[j] >> 6 << 4;
  return {half_at(block) * static_cast<float>(scale), -(half_at(block + 2) * static_cast<float>(least))};
}

struct Q4_K {
  static constexpr int kBytes = 144, kElements = 256;
  static constexpr bool kHasLeast = true;
  static __device__ GroupScale scales(const uint8_t* block, int group) { return scales_of_6_bits(block, group / 2); }
  static __device__ float code(const uint8_t* block, int i) {
    return static_cast<float>(block[16 + i / 64 * 32 + i % 32] >> (i / 32 % 2 * 4) & 15);
  }
};

struct Q5_K {
  static constexpr int kBytes = 176, kElements = 256;
  static constexpr bool kHasLeast = true;
  static __device__ GroupScale scales(const uint8_t* block, int group) { return scales_of_6_bits(block, group / 2); }
  static __device__ float code(const uint8_t* block, int i) {
    const int low = block[48 + i / 64 * 32 + i % 32] >> (i / 32 % 2 * 4) & 15;
    return static_cast<float>(low | (block[16 + i % 32] >> (i / 32) & 1) << 4);
  }
};

struct Q6_K {
  static constexpr int kBytes = 210, kElements = 256;
  static constexpr bool kHasLeast = false;
  static __device__ GroupScale scales(const uint8_t* block, int group) {
    return {half_at(block + 208) * static_cast<float>(static_cast<int8_t>(block[192 + group])), 0};
  }
  static __device__ float code(const uint8_t* block, int i) {
    const int half = i / 128, quarter = i / 32 % 4;
    const int low = block[half * 64 + quarter % 2 * 32 + i % 32] >> (quarter / 2 * 4) & 15;
    const int high = block[128 + half * 32 + i % 32] >> (quarter * 2) & 3;
    return static_cast<float>((low | high << 4) - 32);
  }
};

struct Iq4Nl {
  static constexpr int kBytes = 18, kElements = 32;
  static constexpr bool kHasLeast = false;
  static __device__ GroupScale scales(const uint8_t* block, int) { return {half_at(block), 0}; }
  static __device__ float code(const uint8_t* block, int i) { return nonlinear(nibble(block + 2, i)); }
};

struct Iq4Xs {
  static constexpr int kBytes = 136, kElements = 256;
  static constexpr bool kHasLeast = false;
  static __device__ GroupScale scales(const uint8_t* block, int group) {
    const int j = group / 2, low = block[4 + j / 2] >> (j % 2 * 4) & 15;
    const int high = (block[2] | block[3] << 8) >> (2 * j) & 3;
    return {half_at(block) * static_cast<float>((low | high << 4) - 32), 0};
  }
  static __device__ float code(const uint8_t* block, int i) { return nonlinear(nibble(block + 8 + i / 32 * 16, i % 32)); }
};

struct Mxfp4 {
  static constexpr int kBytes = 17, kElements = 32;
  static constexpr bool kHasLeast = false;
  /// 2^(exponent - 128), half of the power of two because the codes are doubled; the two smallest are subnormal.
  static __device__ GroupScale scales(const uint8_t* block, int) {
    const unsigned exponent = block[0], bits = exponent < 2 ? 0x00200000U << exponent : (exponent - 1) << 23;
    float power;
    std::memcpy(&power, &bits, sizeof(power));
    return {power, 0};
  }
  static __device__ float code(const uint8_t* block, int i) {
    constexpr int8_t kValues[16]{0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
    return static_cast<float>(kValues[nibble(block + 1, i)]);
  }
};

/// One thread per pack of a row.
template <typename Format, typename T, int N>
__global__ void decode_gguf_kernel(CudaDecodeGguf a) {
  const int64_t column = column_pack() * N;
  if (column >= a.columns) {
    return;
  }
  const int64_t row_bytes = a.matrix_columns / Format::kElements * Format::kBytes;
  const auto* row = static_cast<const uint8_t*>(a.blocks) + (a.row_begin + blockIdx.x) * row_bytes;
  const int64_t first = a.column_begin + column;
  GroupScale shared{};
  Pack<T, N> pack;
  for (int j = 0; j < N; ++j) {
    const int64_t i = first + j;
    const auto* block = row + i / Format::kElements * Format::kBytes;
    const int place = static_cast<int>(i % Format::kElements);
    if (j == 0 || place % kGroup == 0) {
      shared = Format::scales(block, place / kGroup);
    }
    const float product = shared.scale * Format::code(block, place);
    pack.values[j] = static_cast<T>(Format::kHasLeast ? product + shared.least : product);
  }
  store<N>(static_cast<T*>(a.out) + static_cast<int64_t>(blockIdx.x) * a.columns + column, pack);
}

template <typename Format>
cudaError_t decode_blocks(const CudaPlace& place, const CudaDecodeGguf& a) {
  return dispatch(a.dtype, {a.out}, {a.columns}, [&]<typename T, int N>() {
    return launch(decode_gguf_kernel<Format, T, N>, column_shape(a.rows, divided_up(a.columns, N)), place, a);
  });
}

}  // namespace
}  // namespace device

extern "C" int32_t lora_cuda_decode_gguf(const CudaPlace* place, const CudaDecodeGguf* arguments) {
  const CudaDecodeGguf& a = *arguments;
  if (a.rows == 0 || a.columns == 0) {
    return cudaSuccess;
  }
  switch (a.format) {
    case GgufBlock::kQ4_0:
      return device::decode_blocks<device::Q4_0>(*place, a);
    case GgufBlock::kQ4_1:
      return device::decode_blocks<device::Q4_1>(*place, a);
    case GgufBlock::kQ5_0:
      return device::decode_blocks<device::Q5_0>(*place, a);
    case GgufBlock::kQ5_1:
      return device::decode_blocks<device::Q5_1>(*place, a);
    case GgufBlock::kQ8_0:
      return device::decode_blocks<device::Q8_0>(*place, a);
    case GgufBlock::kQ2_K:
      return device::decode_blocks<device::Q2_K>(*place, a);
    case GgufBlock::kQ3_K:
      return device::decode_blocks<device::Q3_K>(*place, a);
    case GgufBlock::kQ4_K:
      return device::decode_blocks<device::Q4_K>(*place, a);
    case GgufBlock::kQ5_K:
      return device::decode_blocks<device::Q5_K>(*place, a);
    case GgufBlock::kQ6_K:
      return device::decode_blocks<device::Q6_K>(*place, a);
    case GgufBlock::kIQ4_NL:
      return device::decode_blocks<device::Iq4Nl>(*place, a);
    case GgufBlock::kIQ4_XS:
      return device::decode_blocks<device::Iq4Xs>(*place, a);
    case GgufBlock::kMXFP4:
      return device::decode_blocks<device::Mxfp4>(*place, a);
  }
  return cudaErrorInvalidValue;
}

}  // namespace lora::ops
