#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace lora::ops {

using at::Tensor;

/// Which elements a dropout keeps: a pure function of keys, so that backward draws the mask again instead of keeping it.
struct DropoutDraw {
  Tensor row_keys_T;      ///< int64 [T], one key per token (nn/pass.h)
  uint64_t site_key = 0;  ///< identifies the dropout in the model: hash of the host's name
  double p = 0.0;         ///< probability of zero; 0 ≤ p < 1

  /// An element is dropped where its 32 bits are below this.
  uint32_t threshold() const { return static_cast<uint32_t>(p * 4294967296.0); }
  /// The factor of the kept elements.
  double keep_scale() const { return 1.0 / (1.0 - p); }
  bool active() const { return p > 0.0 && row_keys_T.defined(); }
};

/// x_TI with dropped elements set to 0 and the others divided by (1 - p). Not differentiable: a building block for forward and
/// backward of ops. One 64-bit hash gives the bits of two neighbouring channels.
Tensor dropout(const Tensor& x_TI, const DropoutDraw& draw);

/// The keys of the places of rows, such as the pixels of images: mix64(key of the row, place), int64 [N · places], the places of a row
/// next to each other.
Tensor place_keys(const Tensor& row_keys_N, int64_t places);

/// dropout() as a node of the graph, for composed forms; x itself if the draw is not active.
Tensor differentiable_dropout(const Tensor& x_TI, const DropoutDraw& draw);

/// The same bits as dropout() by ATen's operations on whole tensors, on any device: the reference, and the fallback on CUDA.
Tensor dropout_reference(const Tensor& x_TI, const DropoutDraw& draw);

}  // namespace lora::ops
