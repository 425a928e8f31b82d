#pragma once
#include <ATen/core/Tensor.h>

#include <optional>

#include "lora/ops/lora_linear.h"

namespace lora::ops {

/// A low-rank term whose sum with W has rows of trained lengths: W' = g · (W + scale · B A) with g = magnitude / norm,
/// row by row (DoRA: Liu et al. 2024, section 4.1). The norm is a constant for the gradient (section 4.3).
struct DoraTerm {
  LowRankTerm low_rank;  ///< without a bias
  Tensor magnitude_O;    ///< of A's dtype
  Tensor norm_O;         ///< adapted_row_norms(): lengths of the rows of W + scale · B A
};

/// y_TO = x W'ᵀ + b, and with dropout, d being dropout(x), x Wᵀ + b + (g - 1) · d Wᵀ + g · scale · d Aᵀ Bᵀ, as PEFT has
/// it. W is frozen; b may be trained. Backward is written by hand and keeps d (W + scale · B A)ᵀ in x's dtype. Sums are
/// in A's dtype and rounded to x's.
Tensor dora_linear(const Tensor& x_TI, const Tensor& W_OI, const std::optional<Tensor>& bias_O, const DoraTerm& term);

/// The same as a composition of differentiable ATen operations.
Tensor dora_linear_reference(const Tensor& x_TI, const Tensor& W_OI, const std::optional<Tensor>& bias_O, const DoraTerm& term);

/// Lengths of the rows of W [O], in `dtype`.
Tensor row_norms(const Tensor& W_OI, at::ScalarType dtype);

/// Lengths of the rows of W + scale · B A [O] in A's dtype, without the sum itself:
/// |w|² + 2 scale · w·(bA) + scale² · |bA|². Rows of which little is left are computed from the sum.
/// @param base_norm_O row_norms() of W.
Tensor adapted_row_norms(const Tensor& W_OI, const Tensor& base_norm_O, const Tensor& A_RI, const Tensor& B_OR, double scale);

}  // namespace lora::ops
