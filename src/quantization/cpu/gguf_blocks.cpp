// ggml's blocks (ggml-common.h, ggml-quants.c). Each value is one product, or a product and a sum, of float32 numbers in the order of the
// gguf package. This file is compiled without contraction to fused multiply-adds, which would give other bits.
#include "quantization/cpu/gguf_blocks.h"

#include <cstring>

namespace lora::quantization {

namespace {

constexpr int kSmall = 32;
constexpr int kLarge = 256;
constexpr int kGroup = 16;

LORA_INLINE float half_at(const uint8_t* bytes) {
  Half half;
  std::memcpy(&half, bytes, sizeof(half));
  return widened(half);
}

/// Two levels of 16 in each byte: the low nibbles are the first 16 elements.
template <typename Value>
LORA_INLINE void nibbles(const uint8_t* codes, float* out, const Value& value) {
  for (int i = 0; i < kGroup; ++i) {
    out[i] = value(codes[i] & 15, i);
  }
  for (int i = 0; i < kGroup; ++i) {
    out[kGroup + i] = value(codes[i] >> 4, kGroup + i);
  }
}

LORA_INLINE void decode_q4_0(const uint8_t* block, float* out) {
  const float d = half_at(block);
  nibbles(block + 2, out, [d](int code, int) { return d * static_cast<float>(code - 8); });
}

LORA_INLINE void decode_q4_1(const uint8_t* block, float* out) {
  const float d = half_at(block), m = half_at(block + 2);
  nibbles(block + 4, out, [d, m](int code, int) { return d * static_cast<float>(code) + m; });
}

LORA_INLINE void decode_q5_0(const uint8_t* block, float* out) {
  const float d = half_at(block);
  uint32_t high;
  std::memcpy(&high, block + 2, sizeof(high));
  nibbles(block + 6, out,
          [d, high](int code, int i) { return d * static_cast<float>((code | static_cast<int>(high >> i & 1) << 4) - 16); });
}

LORA_INLINE void decode_q5_1(const uint8_t* block, float* out) {
  const float d = half_at(block), m = half_at(block + 2);
  uint32_t high;
  std::memcpy(&high, block + 4, sizeof(high));
  nibbles(block + 8, out,
          [d, m, high](int code, int i) { return d * static_cast<float>(code | static_cast<int>(high >> i & 1) << 4) + m; });
}

LORA_INLINE void decode_q8_0(const uint8_t* block, float* out) {
  const float d = half_at(block);
  for (int i = 0; i < kSmall; ++i) {
    out[i] = static_cast<float>(static_cast<int8_t>(block[2 + i])) * d;
  }
}

LORA_INLINE void decode_q2_k(const uint8_t* block, float* out) {
  const uint8_t* codes = block + 16;
  const float d = half_at(block + 80), dmin = half_at(block + 82);
  for (int group = 0; group < kLarge / kGroup; ++group) {
    const float scale = d * static_cast<float>(block[group] & 15), least = dmin * static_cast<float>(block[group] >> 4);
    const int shift = group / 2 % 4 * 2;
    const uint8_t* from = codes + group / 8 * 32 + group % 2 * kGroup;
    for (int i = 0; i < kGroup; ++i) {
      out[group * kGroup + i] = scale * static_cast<float>(from[i] >> shift & 3) - least;
    }
  }
}

LORA_INLINE void decode_q3_k(const uint8_t* block, float* out) {
  const uint8_t* codes = block + 32;
  const uint8_t* scales = block + 96;
  const float d = half_at(block + 108);
  for (int group = 0; group < kLarge / kGroup; ++group) {
    const int low = group < 8 ? scales[group] & 15 : scales[group - 8] >> 4;
    const int high = scales[8 + group % 4] >> (group / 4 * 2) & 3;
    const float scale = d * static_cast<float>((low | high << 4) - 32);
    const int shift = group / 2 % 4 * 2, bit = group / 2;
    const uint8_t* from = codes + group / 8 * 32 + group % 2 * kGroup;
    const uint8_t* mask = block + group % 2 * kGroup;
    for (int i = 0; i < kGroup; ++i) {
      const int code = (from[i] >> shift & 3) - ((mask[i] >> bit & 1) ^ 1) * 4;
      out[group * kGroup + i] = scale * static_cast<float>(code);
    }
  }
}

/// The scale and the minimum of sub-block j, of 6 bits each in 12 bytes.
struct ScaleAndLeast {
  float scale;
  float least;
};
LORA_INLINE ScaleAndLeast scale_of(const uint8_t* block, int j) {
  const float d = half_at(block), dmin = half_at(block + 2);
  const uint8_t* s = block + 4;
  const int scale = j < 4 ? s[j] & 63 : (s[4 + j] & 15) | s[j - 4] >> 6 << 4;
  const int least = j < 4 ? s[4 + j] & 63 : s[4 + j] >> 4 | s[j] >> 6 << 4;
  return {d * static_cast<float>(scale), dmin * static_cast<float>(least)};
}

LORA_INLINE void decode_q4_k(const uint8_t* block, float* out) {
  for (int j = 0; j < kLarge / kSmall; ++j) {
    const auto [scale, least] = scale_of(block, j);
    const uint8_t* from = block + 16 + j / 2 * kSmall;
    const int shift = j % 2 * 4;
    for (int i = 0; i < kSmall; ++i) {
      out[j * kSmall + i] = scale * static_cast<float>(from[i] >> shift & 15) - least;
    }
  }
}

LORA_INLINE void decode_q5_k(const uint8_t* block, float* out) {
  const uint8_t* high = block + 16;
  for (int j = 0; j < kLarge / kSmall; ++j) {
    const auto [scale, least] = scale_of(block, j);
    const uint8_t* from = block + 48 + j / 2 * kSmall;
    const int shift = j % 2 * 4;
    for (int i = 0; i < kSmall; ++i) {
      const int code = (from[i] >> shift & 15) | (high[i] >> j & 1) << 4;
      out[j * kSmall + i] = scale * static_cast<float>(code) - least;
    }
  }
}

LORA_INLINE void decode_q6_k(const uint8_t* block, float* out) {
  const float d = half_at(block + 208);
  for (int group = 0; group < kLarge / kGroup; ++group) {
    const float scale = d * static_cast<float>(static_cast<int8_t>(block[192 + group]));
    const int half = group / 8, quarter = group / 2 % 4, place = group % 2 * kGroup;
    const uint8_t* low = block + half * 64 + quarter % 2 * 32 + place;
    const uint8_t* high = block + 128 + half * 32 + place;
    for (int i = 0; i < kGroup; ++i) {
      const int code = ((low[i] >> (quarter / 2 * 4) & 15) | (high[i] >> (quarter * 2) & 3) << 4) - 32;
      out[group * kGroup + i] = scale * static_cast<float>(code);
    }
  }
}

constexpr float kNonlinear[16]{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

LORA_INLINE void decode_iq4_nl(const uint8_t* block, float* out) {
  const float d = half_at(block);
  nibbles(block + 2, out, [d](int code, int) { return d * kNonlinear[code]; });
}

LORA_INLINE void decode_iq4_xs(const uint8_t* block, float* out) {
  const float d = half_at(block);
  uint16_t high;
  std::memcpy(&high, block + 2, sizeof(high));
  for (int j = 0; j < kLarge / kSmall; ++j) {
    const int low = block[4 + j / 2] >> (j % 2 * 4) & 15;
    const float scale = d * static_cast<float>((low | (high >> (2 * j) & 3) << 4) - 32);
    nibbles(block + 8 + j * kGroup, out + j * kSmall, [scale](int code, int) { return scale * kNonlinear[code]; });
  }
}

/// Twice the values of e2m1, as the scale is half of the exponent's power of two.
constexpr float kE2m1[16]{0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

/// 2^(exponent - 128); the two smallest are subnormal.
LORA_INLINE float half_power(uint8_t exponent) {
  return std::bit_cast<float>(exponent < 2 ? uint32_t{0x00200000} << exponent : (uint32_t{exponent} - 1) << 23);
}

LORA_INLINE void decode_mxfp4(const uint8_t* block, float* out) {
  const float d = half_power(block[0]);
  nibbles(block + 1, out, [d](int code, int) { return d * kE2m1[code]; });
}

/// Whole blocks, one after the other.
template <void (*kDecode)(const uint8_t*, float*)>
LORA_INLINE void decode_all(const uint8_t* blocks, int64_t count, int64_t bytes, int64_t elements, float* out) {
  for (int64_t i = 0; i < count; ++i) {
    kDecode(blocks + i * bytes, out + i * elements);
  }
}

/// Where a block has its float16 scale, and the scale of its minimums: the same place if it has none. -1: its scale is no float16.
struct ScalePlaces {
  int scale;
  int of_least;
};
ScalePlaces scale_places(GgufBlock format) {
  switch (format) {
    case GgufBlock::kQ4_1:
    case GgufBlock::kQ5_1:
    case GgufBlock::kQ4_K:
    case GgufBlock::kQ5_K:
      return {0, 2};
    case GgufBlock::kQ2_K:
      return {80, 82};
    case GgufBlock::kQ3_K:
      return {108, 108};
    case GgufBlock::kQ6_K:
      return {208, 208};
    case GgufBlock::kMXFP4:
      return {-1, -1};
    case GgufBlock::kQ4_0:
    case GgufBlock::kQ5_0:
    case GgufBlock::kQ8_0:
    case GgufBlock::kIQ4_NL:
    case GgufBlock::kIQ4_XS:
      break;
  }
  return {0, 0};
}

bool is_finite_half(const uint8_t* bytes) {
  uint16_t bits;
  std::memcpy(&bits, bytes, sizeof(bits));
  return (bits & 0x7c00) != 0x7c00;
}

}  // namespace

bool has_finite_scales(GgufBlock format, const uint8_t* blocks, int64_t bytes, int64_t block_bytes) {
  const ScalePlaces places = scale_places(format);
  bool all = true;
  for (const uint8_t* block = blocks; places.scale >= 0 && block < blocks + bytes; block += block_bytes) {
    all = all && is_finite_half(block + places.scale) && is_finite_half(block + places.of_least);
  }
  return all;
}

LORA_SIMD void decode_gguf(GgufBlock format, const uint8_t* blocks, int64_t count, float* out) {
  switch (format) {
    case GgufBlock::kQ4_0:
      return decode_all<decode_q4_0>(blocks, count, 18, kSmall, out);
    case GgufBlock::kQ4_1:
      return decode_all<decode_q4_1>(blocks, count, 20, kSmall, out);
    case GgufBlock::kQ5_0:
      return decode_all<decode_q5_0>(blocks, count, 22, kSmall, out);
    case GgufBlock::kQ5_1:
      return decode_all<decode_q5_1>(blocks, count, 24, kSmall, out);
    case GgufBlock::kQ8_0:
      return decode_all<decode_q8_0>(blocks, count, 34, kSmall, out);
    case GgufBlock::kQ2_K:
      return decode_all<decode_q2_k>(blocks, count, 84, kLarge, out);
    case GgufBlock::kQ3_K:
      return decode_all<decode_q3_k>(blocks, count, 110, kLarge, out);
    case GgufBlock::kQ4_K:
      return decode_all<decode_q4_k>(blocks, count, 144, kLarge, out);
    case GgufBlock::kQ5_K:
      return decode_all<decode_q5_k>(blocks, count, 176, kLarge, out);
    case GgufBlock::kQ6_K:
      return decode_all<decode_q6_k>(blocks, count, 210, kLarge, out);
    case GgufBlock::kIQ4_NL:
      return decode_all<decode_iq4_nl>(blocks, count, 18, kSmall, out);
    case GgufBlock::kIQ4_XS:
      return decode_all<decode_iq4_xs>(blocks, count, 136, kLarge, out);
    case GgufBlock::kMXFP4:
      return decode_all<decode_mxfp4>(blocks, count, 17, kSmall, out);
  }
}

LORA_SIMD void narrow_gguf(const float* from, int64_t count, BFloat16* to) {
  for (int64_t i = 0; i < count; ++i) {
    to[i] = narrowed<BFloat16>(from[i]);
  }
}

LORA_SIMD void narrow_gguf(const float* from, int64_t count, Half* to) {
  for (int64_t i = 0; i < count; ++i) {
    to[i] = narrowed<Half>(from[i]);
  }
}

LORA_SIMD void add_products(const float* a, const float* b, int64_t count, float* sums) {
  float own[kGroup];
  std::memcpy(own, sums, sizeof(own));
  for (int64_t i = 0; i < count; i += kGroup) {
    for (int lane = 0; lane < kGroup; ++lane) {
      own[lane] += a[i + lane] * b[i + lane];
    }
  }
  std::memcpy(sums, own, sizeof(own));
}

}  // namespace lora::quantization
