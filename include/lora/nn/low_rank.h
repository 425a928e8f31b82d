#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>

namespace lora::nn {

using at::Tensor;

/// The norms of the rows of W + scale · B A, which DoRA divides by. Those of W are kept. Those of the sum are recomputed in every
/// training pass; without gradients (evaluation, generation) they are kept until A, B or W change.
class RowNorms {
 public:
  /// float32 [O] (float64 for float64), without gradient. I inputs, O outputs, R rank.
  Tensor of(const Tensor& W_OI, const Tensor& A_RI, const Tensor& B_OR, double scale) const;

 private:
  mutable Tensor base_O_;  ///< norms of W's rows
  mutable uint32_t base_version_ = 0;
  mutable Tensor sum_O_;
  mutable uint32_t sum_version_ = 0;
};

/// A low-rank attachment as its host sees it (so that ops/ can fuse it): scale · (dropout(x) Aᵀ Bᵀ + bias). With a magnitude it
/// is DoRA (Liu et al. 2024): each row of W + scale · B A is scaled to the norm that the magnitude gives.
/// For an embedding x is one-hot: I are token ids and O channels.
struct LowRank {
  std::string adapter;  ///< the adapter's name
  Tensor A_RI;
  Tensor B_OR;
  double scale = 1.0;
  double dropout = 0.0;
  bool enabled = true;
  std::optional<Tensor> bias_O = std::nullopt;       ///< PEFT's lora_bias; not with a magnitude
  std::optional<Tensor> magnitude_O = std::nullopt;  ///< DoRA
  RowNorms norms = {};
};

}  // namespace lora::nn
