#pragma once
#include <ATen/ATen.h>

#include <cstdint>

#include "lora/ops/dropout.h"

namespace lora::test {

/// Sizes and scale of a small Linear with a low-rank part.
inline constexpr int64_t kTokens = 5, kIn = 7, kOut = 4, kRank = 3;
inline constexpr double kScale = 1.75;

/// What the tests of such a Linear vary.
struct LowRankSetting {
  const char* name;
  bool bias;
  double p;
  bool x_needs_grad;
};

/// A key of each of the tokens.
inline at::Tensor token_keys() {
  return at::arange(kTokens, at::kLong) * 0x1234567 + 99;
}

inline ops::DropoutDraw draw_of(double p) {
  return {token_keys(), 0xabcdefULL, p};
}

}  // namespace lora::test
