// Pairs of bfloat16, as the processor's dot products read them, moved as one number.
#pragma once
#include <cstring>

#include "ops/cpu/elements.h"

namespace lora::ops::cpu {

/// Two neighbouring BFloat16, the first in the low half.
using Pair = uint32_t;

constexpr int64_t kSide = 16;

/// Transposes [kSide, kSide] in place. The index of an element has 4 bits for its row and 4 for its column: each step moves its first bit
/// to the end, and four steps exchange rows and columns.
LORA_INLINE void transpose_square(Pair* square) {
  constexpr int64_t kHalf = kSide * kSide / 2;
  Pair other[kSide * kSide];
  const auto step = [](const Pair* from, Pair* to) {
#pragma omp simd
    for (int64_t i = 0; i < kHalf; ++i) {
      to[2 * i] = from[i];
      to[2 * i + 1] = from[kHalf + i];
    }
  };
  step(square, other);
  step(other, square);
  step(square, other);
  step(other, square);
}

}  // namespace lora::ops::cpu
