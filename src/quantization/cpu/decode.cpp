#include <type_traits>

#include "quantization/cpu/kernels.h"

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

template <typename V, typename S>
LORA_SIMD void decode_int8(const int8_t* codes, int64_t count, float scale, S* out) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) {
    out[i] = converted<V, S>(static_cast<float>(codes[i]) * scale * kInt8Unit);
  }
}

#define LORA_INSTANTIATE(V, S)                                               \
  template void make_tables4<V, S>(const float*, const float*, int64_t, S*); \
  template void decode_int8<V, S>(const int8_t*, int64_t, float, S*);
#define LORA_INSTANTIATE_FOR(S) \
  LORA_INSTANTIATE(float, S)    \
  LORA_INSTANTIATE(BFloat16, S) \
  LORA_INSTANTIATE(Half, S)
LORA_INSTANTIATE_FOR(float)
LORA_INSTANTIATE_FOR(BFloat16)
LORA_INSTANTIATE_FOR(Half)

}  // namespace lora::quantization::cpu
