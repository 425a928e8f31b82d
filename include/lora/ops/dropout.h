#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace lora::ops {

using at::Tensor;

/// Which elements a dropout keeps: a pure function of keys, so backward draws it again instead of keeping it.
struct DropoutDraw {
  Tensor row_keys_T;      ///< int64 [T], one key a token (nn/pass.h)
  uint64_t site_key = 0;  ///< which dropout of the model: hash of the host's name
  double p = 0.0;         ///< probability of zero; 0 ≤ p < 1

  /// An element is dropped where its 32 bits are below this.
  uint32_t threshold() const { return static_cast<uint32_t>(p * 4294967296.0); }
  /// What the others are multiplied by.
  double keep_scale() const { return 1.0 / (1.0 - p); }
  bool active() const { return p > 0.0 && row_keys_T.defined(); }
};

/// x_TI with its dropped elements 0 and the others divided by (1 - p). Not differentiable: a building block of forward
/// and backward of the ops that use it. One 64-bit hash gives the bits of two neighbouring channels.
Tensor dropout(const Tensor& x_TI, const DropoutDraw& draw);

/// dropout() as a node of the graph, for composed forms; x itself where the draw is not active.
Tensor differentiable_dropout(const Tensor& x_TI, const DropoutDraw& draw);

/// The same as dropout() by ATen's operations on whole tensors, on any device, bit by bit: the reference, and CUDA's way.
Tensor dropout_reference(const Tensor& x_TI, const DropoutDraw& draw);

}  // namespace lora::ops
