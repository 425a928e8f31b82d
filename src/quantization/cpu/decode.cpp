#include <type_traits>

#include "quantization/cpu/simd.h"

namespace lora::quantization::cpu {

namespace {

/// Rounded to V and then to S. Rounding to the same type a second time changes nothing.
template <typename V, typename S>
LORA_INLINE S converted(float x) {
  if constexpr (std::is_same_v<V, S>) {
    return narrowed<S>(x);
  } else {
    return narrowed<S>(rounded<V>(x));
  }
}

}  // namespace

LORA_SIMD void expand_scales(const uint8_t* codes, int64_t first, int64_t count, const float* absmax, int64_t block_size, const float* map,
                             float offset, float* out) {
  for (int64_t begin = 0; begin < count;) {
    const int64_t block = (first + begin) / block_size, rest = (block + 1) * block_size - first, end = rest < count ? rest : count;
    const float scale = absmax[block];
#pragma omp simd
    for (int64_t i = begin; i < end; ++i) {
      out[i] = map[codes[i]] * scale + offset;
    }
    begin = end;
  }
}

template <typename V, typename S>
LORA_SIMD void make_tables4(const float* codebook, const float* absmax, int64_t blocks, S* tables) {
  for (int64_t b = 0; b < blocks; ++b) {
#pragma omp simd
    for (int64_t code = 0; code < 16; ++code) {
      tables[b * 16 + code] = converted<V, S>(codebook[code] * absmax[b]);
    }
  }
}

namespace {

template <typename V, typename S>
LORA_SIMD void decode_int8_loop(const int8_t* codes, int64_t count, float scale, S* out) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) {
    out[i] = converted<V, S>(static_cast<float>(codes[i]) * scale * kInt8Unit);
  }
}

#ifdef LORA_X86

/// The bits of 16 values, rounded to bfloat16 in their upper halves. They are numbers.
LORA_AVX512 __m512i rounded_int8(__m512i codes, __m512 scale) {
  const __m512 values = _mm512_mul_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(codes), scale), _mm512_set1_ps(kInt8Unit));
  const __m512i bits = _mm512_castps_si512(values);
  const __m512i last = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  return _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), last);
}

/// decode_int8_loop for the first elements of `count`, and how many they are.
LORA_AVX512 int64_t decode_int8_avx512(const int8_t* codes, int64_t count, float scale, BFloat16* out) {
  const __m512 scales = _mm512_set1_ps(scale);
  int64_t i = 0;
  for (; i + 32 <= count; i += 32) {  // two codes in 4 bytes: one comes from its byte, the other from the byte above
    const __m512i words = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes + i)));
    const __m512i first = rounded_int8(_mm512_srai_epi32(_mm512_slli_epi32(words, 24), 24), scales);
    const __m512i second = rounded_int8(_mm512_srai_epi32(_mm512_slli_epi32(words, 16), 24), scales);
    // The upper half of `second`, and below it that of `first`.
    _mm512_storeu_si512(out + i, _mm512_ternarylogic_epi32(_mm512_set1_epi32(0xffff), _mm512_srli_epi32(first, 16), second, 0xca));
  }
  return i;
}

#endif

}  // namespace

template <typename V, typename S>
void decode_int8(const int8_t* codes, int64_t count, float scale, S* out, Simd simd) {
  int64_t done = 0;
#ifdef LORA_X86
  if constexpr (std::is_same_v<S, BFloat16> && !std::is_same_v<V, Half>) {  // which rounds once
    if (simd == Simd::kAvx512 && scale - scale == 0) {  // neither infinite nor NaN
      done = decode_int8_avx512(codes, count, scale, out);
    }
  }
#endif
  (void)simd;
  decode_int8_loop<V, S>(codes + done, count - done, scale, out + done);
}

#define LORA_INSTANTIATE(V, S)                                               \
  template void make_tables4<V, S>(const float*, const float*, int64_t, S*); \
  template void decode_int8<V, S>(const int8_t*, int64_t, float, S*, Simd);
#define LORA_INSTANTIATE_FOR(S) \
  LORA_INSTANTIATE(float, S)    \
  LORA_INSTANTIATE(BFloat16, S) \
  LORA_INSTANTIATE(Half, S)
LORA_INSTANTIATE_FOR(float)
LORA_INSTANTIATE_FOR(BFloat16)
LORA_INSTANTIATE_FOR(Half)

}  // namespace lora::quantization::cpu
