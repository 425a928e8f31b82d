#include <algorithm>
#include <bit>
#include <type_traits>

#include "quantization/cpu/simd.h"

namespace lora::quantization::cpu {

bool supports(Simd simd) {
#ifdef LORA_X86
  if (simd == Simd::kAvx512) {
    return __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512bw") != 0 && __builtin_cpu_supports("avx512vl") != 0 &&
           __builtin_cpu_supports("avx512dq") != 0;
  }
  if (simd == Simd::kAvx2) {
    return __builtin_cpu_supports("avx2") != 0;
  }
#endif
  return simd == Simd::kPlain;
}

Simd best_simd() {
  static const Simd kBest = supports(Simd::kAvx512) ? Simd::kAvx512 : supports(Simd::kAvx2) ? Simd::kAvx2 : Simd::kPlain;
  return kBest;
}

namespace {

#ifdef LORA_X86

// Each byte of codes becomes a number of twice the width of an element, and by two shifts the indices of its two elements: of the bits
// above an index, the instructions that look it up ignore all.

LORA_AVX512 void look_up_16_avx512(const uint8_t* codes, int64_t blocks, int64_t pairs, const uint16_t* tables, uint16_t* out) {
  for (int64_t b = 0; b < blocks; ++b) {
    // The instruction has 32 entries: the fifth bit of an index may be anything.
    const __m512i table = _mm512_broadcast_i64x4(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(tables + b * 16)));
    for (int64_t i = 0; i < pairs; i += 16) {
      const __m512i bytes = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(codes + i)));
      const __m512i index = _mm512_or_si512(_mm512_srli_epi32(bytes, 4), _mm512_slli_epi32(bytes, 16));
      _mm512_storeu_si512(out + 2 * i, _mm512_permutexvar_epi16(index, table));
    }
    codes += pairs;
    out += 2 * pairs;
  }
}

LORA_AVX512 void look_up_32_avx512(const uint8_t* codes, int64_t blocks, int64_t pairs, const uint32_t* tables, uint32_t* out) {
  for (int64_t b = 0; b < blocks; ++b) {
    const __m512i table = _mm512_loadu_si512(tables + b * 16);
    for (int64_t i = 0; i < pairs; i += 8) {
      const __m512i bytes = _mm512_cvtepu8_epi64(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(codes + i)));
      const __m512i index = _mm512_or_si512(_mm512_srli_epi64(bytes, 4), _mm512_slli_epi64(bytes, 32));
      _mm512_storeu_si512(out + 2 * i, _mm512_permutexvar_epi32(index, table));
    }
    codes += pairs;
    out += 2 * pairs;
  }
}

/// A table's values are rounded as narrowed<BFloat16> does, each in both halves of 4 bytes: an index of an element of 2 bytes is twice
/// the code, and its last bit may be anything.
LORA_AVX512 __m512i bfloat16_pairs(__m512 values) {
  const __m512i bits = _mm512_castps_si512(values);
  const __m512i last = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  __m512i rounded = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), last);
  rounded = _mm512_mask_mov_epi32(rounded, _mm512_cmp_ps_mask(values, values, _CMP_UNORD_Q), _mm512_set1_epi32(0x7fc00000));
  // The upper half of `rounded`, and below it the same.
  return _mm512_ternarylogic_epi32(_mm512_set1_epi32(0xffff), _mm512_srli_epi32(rounded, 16), rounded, 0xca);
}

LORA_AVX512 void decode_bfloat16_avx512(const uint8_t* codes, int64_t blocks, int64_t pairs, const float* codebook, const float* absmax,
                                        uint16_t* out) {
  const __m512 book = _mm512_loadu_ps(codebook);
  for (int64_t b = 0; b < blocks; ++b) {
    const __m512i table = bfloat16_pairs(_mm512_mul_ps(book, _mm512_set1_ps(absmax[b])));
    for (int64_t i = 0; i < pairs; i += 16) {
      const __m512i bytes = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(codes + i)));
      const __m512i index = _mm512_or_si512(_mm512_srli_epi32(bytes, 3), _mm512_slli_epi32(bytes, 17));
      _mm512_storeu_si512(out + 2 * i, _mm512_permutexvar_epi16(index, table));
    }
    codes += pairs;
    out += 2 * pairs;
  }
}

/// Two tables of bytes: of the low and of the high halves of the values.
LORA_AVX2 void look_up_16_avx2(const uint8_t* codes, int64_t blocks, int64_t pairs, const uint16_t* tables, uint16_t* out) {
  const __m256i nibbles = _mm256_set1_epi8(15);
  const __m128i low_byte = _mm_set1_epi16(255);
  for (int64_t b = 0; b < blocks; ++b) {
    const __m128i first = _mm_loadu_si128(reinterpret_cast<const __m128i*>(tables + b * 16));
    const __m128i second = _mm_loadu_si128(reinterpret_cast<const __m128i*>(tables + b * 16 + 8));
    const __m256i low = _mm256_broadcastsi128_si256(_mm_packus_epi16(_mm_and_si128(first, low_byte), _mm_and_si128(second, low_byte)));
    const __m256i high = _mm256_broadcastsi128_si256(_mm_packus_epi16(_mm_srli_epi16(first, 8), _mm_srli_epi16(second, 8)));
    for (int64_t i = 0; i < pairs; i += 16) {
      const __m256i bytes = _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(codes + i)));
      const __m256i index = _mm256_and_si256(_mm256_or_si256(_mm256_srli_epi16(bytes, 4), _mm256_slli_epi16(bytes, 8)), nibbles);
      const __m256i lows = _mm256_shuffle_epi8(low, index), highs = _mm256_shuffle_epi8(high, index);
      const __m256i even = _mm256_unpacklo_epi8(lows, highs), odd = _mm256_unpackhi_epi8(lows, highs);  // eights of elements
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 2 * i), _mm256_permute2x128_si256(even, odd, 0x20));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 2 * i + 16), _mm256_permute2x128_si256(even, odd, 0x31));
    }
    codes += pairs;
    out += 2 * pairs;
  }
}

/// The instruction has 8 entries: the fourth bit of an index chooses between two tables.
LORA_AVX2 void look_up_32_avx2(const uint8_t* codes, int64_t blocks, int64_t pairs, const uint32_t* tables, uint32_t* out) {
  for (int64_t b = 0; b < blocks; ++b) {
    const __m256 low = _mm256_loadu_ps(reinterpret_cast<const float*>(tables + b * 16));
    const __m256 high = _mm256_loadu_ps(reinterpret_cast<const float*>(tables + b * 16 + 8));
    for (int64_t i = 0; i < pairs; i += 4) {
      const __m256i bytes = _mm256_cvtepu8_epi64(_mm_loadu_si32(codes + i));
      const __m256i index = _mm256_or_si256(_mm256_srli_epi64(bytes, 4), _mm256_slli_epi64(bytes, 32));
      const __m256 upper = _mm256_castsi256_ps(_mm256_slli_epi32(index, 28));
      const __m256 values = _mm256_blendv_ps(_mm256_permutevar8x32_ps(low, index), _mm256_permutevar8x32_ps(high, index), upper);
      _mm256_storeu_ps(reinterpret_cast<float*>(out + 2 * i), values);
    }
    codes += pairs;
    out += 2 * pairs;
  }
}

void look_up_simd(const uint8_t* codes, int64_t blocks, int64_t pairs, const uint16_t* tables, uint16_t* out, Simd simd) {
  (simd == Simd::kAvx512 ? look_up_16_avx512 : look_up_16_avx2)(codes, blocks, pairs, tables, out);
}

void look_up_simd(const uint8_t* codes, int64_t blocks, int64_t pairs, const uint32_t* tables, uint32_t* out, Simd simd) {
  (simd == Simd::kAvx512 ? look_up_32_avx512 : look_up_32_avx2)(codes, blocks, pairs, tables, out);
}

#endif

}  // namespace

template <typename S>
void look_up_pairs(const uint8_t* codes, int64_t pairs, const S* table, S* out) {
  for (int64_t i = 0; i < pairs; ++i) {
    out[2 * i] = table[codes[i] >> 4];
    out[2 * i + 1] = table[codes[i] & 15];
  }
}

template <typename S>
void look_up_blocks(const uint8_t* codes, int64_t blocks, int64_t pairs, const S* tables, S* out, Simd simd) {
#ifdef LORA_X86
  if (simd != Simd::kPlain) {
    using Bits = std::conditional_t<sizeof(S) == 2, uint16_t, uint32_t>;
    look_up_simd(codes, blocks, pairs, reinterpret_cast<const Bits*>(tables), reinterpret_cast<Bits*>(out), simd);
    return;
  }
#endif
  for (int64_t b = 0; b < blocks; ++b) {
    look_up_pairs(codes + b * pairs, pairs, tables + b * 16, out + 2 * b * pairs);
  }
}

template <typename V, typename S>
void decode_blocks4(const uint8_t* codes, int64_t blocks, int64_t pairs, const float* codebook, const float* absmax, S* out, Simd simd) {
#ifdef LORA_X86
  if constexpr (std::is_same_v<S, BFloat16> && !std::is_same_v<V, Half>) {  // which rounds once
    if (simd == Simd::kAvx512) {
      decode_bfloat16_avx512(codes, blocks, pairs, codebook, absmax, reinterpret_cast<uint16_t*>(out));
      return;
    }
  }
#endif
  constexpr int64_t kAtOnce = 32;
  S tables[kAtOnce * 16];
  for (int64_t b = 0; b < blocks; b += kAtOnce) {
    const int64_t count = std::min(kAtOnce, blocks - b);
    make_tables4<V, S>(codebook, absmax + b, count, tables);
    look_up_blocks(codes + b * pairs, count, pairs, tables, out + 2 * b * pairs, simd);
  }
}

#define LORA_INSTANTIATE(S)                                                                                          \
  template void look_up_pairs<S>(const uint8_t*, int64_t, const S*, S*);                                             \
  template void look_up_blocks<S>(const uint8_t*, int64_t, int64_t, const S*, S*, Simd);                             \
  template void decode_blocks4<float, S>(const uint8_t*, int64_t, int64_t, const float*, const float*, S*, Simd);    \
  template void decode_blocks4<BFloat16, S>(const uint8_t*, int64_t, int64_t, const float*, const float*, S*, Simd); \
  template void decode_blocks4<Half, S>(const uint8_t*, int64_t, int64_t, const float*, const float*, S*, Simd);
LORA_INSTANTIATE(float)
LORA_INSTANTIATE(BFloat16)
LORA_INSTANTIATE(Half)

}  // namespace lora::quantization::cpu
