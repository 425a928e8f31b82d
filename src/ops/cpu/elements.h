// Functions of numbers in the kernels. Without torch headers: the kernels compile independently.
#pragma once
#include <bit>
#include <cmath>
#include <cstdint>

#include "lora/base/elements.h"

namespace lora::ops::cpu {

using lora::BFloat16;
using lora::Half;
using lora::narrowed;
using lora::Wide;
using lora::widened;

LORA_INLINE double exponential(double x) {
  return std::exp(x);
}
/// e^x, within 2 units in the last place; x below -87.3 gives e^-87.3, above 88.3 e^88.3. x = n ln 2 + r with |r| ≤ ln 2 / 2,
/// e^r by its Taylor polynomial of degree 7, whose remainder there is below 6e-9 (Cody & Waite 1980, chapter 6).
LORA_INLINE float exponential(float x) {
  x = x < -87.3F ? -87.3F : x;
  x = x > 88.3F ? 88.3F : x;
  constexpr float kShift = 0x1.8p23F;  // a sum with it has the nearest integer in its last bits
  const float shifted = x * 1.44269504F + kShift;
  const float n = shifted - kShift;
  const float r = (x - n * 0x1.62e4p-1F) - n * 0x1.7f7d1cp-20F;  // ln 2 in two parts: the first product is exact
  float y = 1.0F / 5040;
  y = y * r + 1.0F / 720;
  y = y * r + 1.0F / 120;
  y = y * r + 1.0F / 24;
  y = y * r + 1.0F / 6;
  y = y * r + 0.5F;
  y = y * r + 1.0F;
  y = y * r + 1.0F;
  const uint32_t power = (std::bit_cast<uint32_t>(shifted) << 23) + 0x3f800000;
  return y * std::bit_cast<float>(power);
}

LORA_INLINE double sigmoid(double x) {
  return 1 / (1 + std::exp(-x));
}
/// 1 / (1 + e^-x), within 3 units in the last place. The quotient is found by Newton's iteration from an estimate with an error of at
/// most 12 %: a vector division takes longer than the whole exponential.
LORA_INLINE float sigmoid(float x) {
  const float d = 1.0F + exponential(x < -85.0F ? 85.0F : -x);
  float r = std::bit_cast<float>(0x7ef311c7U - std::bit_cast<uint32_t>(d));
  r = r * (2.0F - d * r);
  r = r * (2.0F - d * r);
  r = r * (2.0F - d * r);
  return r + r * (1.0F - d * r);
}

/// The larger one; y if either is not a number. (The compiler does not vectorise std::max.)
template <typename W>
LORA_INLINE W larger(W x, W y) {
  return x > y ? x : y;
}

}  // namespace lora::ops::cpu
