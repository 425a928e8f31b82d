#pragma once
#include <cstdint>

namespace lora::ops {

/// The activations of feed-forward layers; their numbers are part of ops/cuda/interface.h.
enum class Activation : int32_t {
  kSilu,      ///< x · sigmoid(x)
  kGelu,      ///< x · Φ(x) (Hendrycks & Gimpel 2016)
  kGeluTanh,  ///< the tanh approximation of GELU (section 2 there)
  kRelu,
  kReluSquared,  ///< max(0, x)² (So et al. 2021, "Primer")
};

}  // namespace lora::ops
