// Numbers as they are stored and as kernels compute with them, and how kernels are compiled.
#pragma once
#include <bit>
#include <cstdint>
#include <type_traits>

/// A kernel is compiled for AVX-512, AVX2 and the baseline, and the loader selects what the CPU supports. (Not under AddressSanitizer,
/// which initialises after the loader's selection.)
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__)
#define LORA_SIMD __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define LORA_SIMD
#endif
/// For functions that a kernel's loops call, so that they are compiled along with the kernel.
#define LORA_INLINE [[gnu::always_inline]] inline

namespace lora {

/// The half types, represented by their bits; c10's have the same layout.
struct BFloat16 {
  uint16_t bits;
};
struct Half {
  uint16_t bits;
};

/// The type that an element is computed in: float32, or float64 for float64.
template <typename S>
using Wide = std::conditional_t<std::is_same_v<S, double>, double, float>;

LORA_INLINE float widened(float x) {
  return x;
}
LORA_INLINE double widened(double x) {
  return x;
}
LORA_INLINE float widened(BFloat16 x) {
  return std::bit_cast<float>(static_cast<uint32_t>(x.bits) << 16);
}
/// Exponent and mantissa are shifted to their positions in a float32; multiplying by the power of two aligns the exponents' zero and
/// makes subnormal numbers normal.
LORA_INLINE float widened(Half x) {
  const uint32_t sign = static_cast<uint32_t>(x.bits & 0x8000) << 16;
  const uint32_t rest = static_cast<uint32_t>(x.bits & 0x7fff) << 13;
  const float scaled = std::bit_cast<float>(rest) * 0x1p112f;
  const uint32_t special = std::bit_cast<uint32_t>(scaled) | 0x7f800000;
  return std::bit_cast<float>(((x.bits & 0x7c00) == 0x7c00 ? special : std::bit_cast<uint32_t>(scaled)) | sign);
}

/// Rounds to the nearest element, ties to even.
template <typename S>
LORA_INLINE S narrowed(Wide<S> x) {
  if constexpr (std::is_same_v<S, BFloat16>) {
    const auto bits = std::bit_cast<uint32_t>(x);
    const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    return {static_cast<uint16_t>(x != x ? 0x7fc0 : rounded)};
  } else if constexpr (std::is_same_v<S, Half>) {
    const uint32_t bits = std::bit_cast<uint32_t>(x);
    const uint32_t sign = (bits >> 16) & 0x8000;
    const uint32_t magnitude = bits & 0x7fffffff;
    // Below the smallest normal number the sum with 0.5 leaves the half's mantissa, rounded, in the low bits.
    const uint32_t subnormal = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5F) - 0x3f000000;
    const uint32_t normal = (magnitude - 0x38000000 + 0xfff + ((magnitude >> 13) & 1)) >> 13;
    const uint32_t finite = magnitude < 0x38800000 ? subnormal : normal;
    const uint32_t large = magnitude > 0x7f800000 ? 0x7e00 : 0x7c00;
    return {static_cast<uint16_t>(sign | (magnitude >= 0x477ff000 ? large : finite))};
  } else {
    return x;
  }
}

/// The value after it was stored as an S.
template <typename S>
LORA_INLINE Wide<S> rounded(Wide<S> x) {
  return widened(narrowed<S>(x));
}

}  // namespace lora
