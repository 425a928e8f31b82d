#include <algorithm>
#include <bit>
#include <cmath>

#include "quantization/cpu/kernels.h"

namespace lora::quantization::cpu {

namespace {

constexpr uint32_t kInfinity = 0x7f800000;

/// The largest magnitude, or a NaN's bits: among the bits of positive floats, larger numbers are larger integers.
LORA_INLINE float largest_magnitude(const float* x, int64_t count) {
  uint32_t largest = 0;
#pragma omp simd reduction(max : largest)
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t magnitude = std::bit_cast<uint32_t>(x[i]) & 0x7fffffff;
    largest = magnitude > largest ? magnitude : largest;
  }
  return std::bit_cast<float>(largest);
}

LORA_INLINE bool is_finite(float x) {
  return (std::bit_cast<uint32_t>(x) & kInfinity) != kInfinity;
}

/// To [-1, 1]; a NaN becomes -1. (0 · infinity, in a block whose largest magnitude is so small that its reciprocal is infinite.)
LORA_INLINE float clamped(float x) {
  x = x > -1.0F ? x : -1.0F;
  return x < 1.0F ? x : 1.0F;
}

/// Numbers that are compared at a time.
constexpr int64_t kPiece = 32;

LORA_INLINE void scale(const float* x, int64_t count, float factor, float* out) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) {
    out[i] = clamped(x[i] * factor);
  }
}

LORA_INLINE void divide(const float* x, int64_t count, float divisor, float* out) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) {
    out[i] = clamped(x[i] / divisor);
  }
}

/// How many midpoints are below each of kPiece numbers.
LORA_INLINE void count_below(const float* x, const float* midpoints, uint32_t* below) {
#pragma omp simd
  for (int64_t i = 0; i < kPiece; ++i) {
    below[i] = 0;
  }
  for (int64_t m = 0; m < 15; ++m) {
    const float midpoint = midpoints[m];
#pragma omp simd
    for (int64_t i = 0; i < kPiece; ++i) {
      below[i] += midpoint < x[i] ? 1U : 0U;
    }
  }
}

}  // namespace

template <typename S>
LORA_SIMD void widen(const S* values, int64_t count, float* out) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) {
    out[i] = widened(values[i]);
  }
}
template void widen(const float*, int64_t, float*);
template void widen(const BFloat16*, int64_t, float*);
template void widen(const Half*, int64_t, float*);

LORA_SIMD float quantize_block4(const float* x, int64_t count, bool whole, const Codebook4& codebook, uint8_t* codes) {
  const float absmax = largest_magnitude(x, count);
  if (!is_finite(absmax)) {
    return absmax;
  }
  const float divisor = absmax > 1e-38F ? absmax : 1e-38F;
  const float factor = 1.0F / divisor;
  float scaled[kPiece] = {};
  uint32_t below[kPiece];
  for (int64_t begin = 0; begin < count; begin += kPiece) {
    const int64_t size = count - begin < kPiece ? count - begin : kPiece;
    if (whole) {
      scale(x + begin, size, factor, scaled);
    } else {
      divide(x + begin, size, divisor, scaled);
    }
    count_below(scaled, codebook.midpoints.data(), below);
    for (int64_t i = 0; i < size; ++i) {
      codes[begin + i] = codebook.codes[below[i] & 15];
    }
  }
  return whole ? absmax : divisor;
}

LORA_SIMD void pack_nibbles(const uint8_t* codes, int64_t count, uint8_t padding, uint8_t* bytes) {
  const int64_t pairs = count / 2;
#pragma omp simd
  for (int64_t i = 0; i < pairs; ++i) {
    bytes[i] = static_cast<uint8_t>(codes[2 * i] << 4 | codes[2 * i + 1]);
  }
  if (count % 2 != 0) {
    bytes[pairs] = static_cast<uint8_t>(codes[count - 1] << 4 | padding);
  }
}

LORA_SIMD float quantize_block8(const float* values, int64_t count, const uint8_t* nearest, uint8_t* codes) {
  const float absmax = largest_magnitude(values, count);
  const float factor = 1.0F / absmax;
  for (int64_t i = 0; i < count; ++i) {
    const float scaled = clamped(values[i] * factor);
    codes[i] = absmax == 0 ? uint8_t{0} : nearest[static_cast<uint16_t>((scaled + 1.0F) * 0.5F * 65535.0F + 0.5F)];
  }
  return absmax;
}

LORA_SIMD float quantize_row8(const float* values, int64_t count, int8_t* codes) {
  const float absmax = largest_magnitude(values, count);
  if (!is_finite(absmax)) {
    return absmax;
  }
  const float factor = absmax > 0 ? 1.0F / absmax * 127.0F : 0.0F;  // rounded twice, as torch's 127 / absmax is
  constexpr float kShift = 0x1.8p23F;  // a sum with it is rounded to an integer, ties to even
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) {
    codes[i] = static_cast<int8_t>(static_cast<int32_t>(values[i] * factor + kShift - kShift));
  }
  return absmax;
}

}  // namespace lora::quantization::cpu
