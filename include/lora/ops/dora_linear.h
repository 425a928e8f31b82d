#pragma once
#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>

#include "lora/ops/lora_linear.h"

namespace lora::ops {

/// A low-rank term whose sum with W has rows of trained norms: W' = g · (W + scale · B A) with g = magnitude / norm, row by row
/// (DoRA: Liu et al. 2024, section 4.1). The norm is a constant for the gradient (section 4.3).
struct DoraTerm {
  LowRankTerm low_rank;  ///< without a bias
  Tensor magnitude_O;    ///< in A's dtype
  Tensor norm_O;         ///< adapted_row_norms(): the norms of the rows of W + scale · B A
};

/// y_TO = x W'ᵀ + b; with dropout, where d = dropout(x), x Wᵀ + b + (g - 1) · d Wᵀ + g · scale · d Aᵀ Bᵀ, as in PEFT. W is frozen;
/// b may be trained. Backward is written explicitly and keeps d (W + scale · B A)ᵀ in x's dtype. Sums are in A's dtype and rounded
/// to x's.
Tensor dora_linear(const Tensor& x_TI, const std::shared_ptr<const LinearWeight>& weight, const std::optional<Tensor>& bias_O,
                   const DoraTerm& term);

/// The same as a composition of differentiable ATen operations.
Tensor dora_linear_reference(const Tensor& x_TI, const Tensor& W_OI, const std::optional<Tensor>& bias_O, const DoraTerm& term);

}  // namespace lora::ops
