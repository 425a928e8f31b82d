#pragma once

namespace lora::ops {

/// The activations of feed-forward layers.
enum class Activation {
  kSilu,      ///< x · sigmoid(x)
  kGelu,      ///< x · Φ(x) (Hendrycks & Gimpel 2016)
  kGeluTanh,  ///< its tanh form, section 2 there
  kRelu,
};

}  // namespace lora::ops
