#pragma once
#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>
#include <vector>

#include "lora/ops/dropout.h"
#include "lora/ops/linear_weight.h"

namespace lora::ops {

/// The low-rank part of a projection: scale · (dropout(x) Aᵀ Bᵀ + bias).
struct LowRankTerm {
  Tensor A_RI;
  Tensor B_OR;
  double scale = 1.0;
  DropoutDraw dropout;
  std::optional<Tensor> bias_O = std::nullopt;  ///< in A's dtype
};

/// y_TO = x_TI Wᵀ + b + scale · (dropout(x) Aᵀ Bᵀ + bias) with W frozen; b may be trained (LoRA: Hu et al. 2021,
/// section 4.1). Without a low-rank part, a frozen projection.
struct Projection {
  std::shared_ptr<const LinearWeight> weight;
  std::optional<Tensor> bias_O = std::nullopt;
  std::optional<LowRankTerm> low_rank = std::nullopt;
};

/// Several projections of one input (q, k and v; gate and up) in one node of the graph. Backward is written explicitly: it computes
/// no dW, keeps x Aᵀ ([T, R], small) and accumulates everything into one dX. Without dropout all A are stacked into one matrix, so
/// that x and dX are read once for the low-rank parts of the whole group; with dropout its mask is drawn again in backward. All A have
/// the same dtype, which may be wider than x's (float32 with bfloat16): the low-rank part and its sum with the rest are computed in
/// it and then rounded to x's, as in PEFT.
std::vector<Tensor> project(const Tensor& x_TI, const std::vector<Projection>& projections);

/// x Wᵀ + b as a part of a composition: at::linear for a dense weight, which may be trained, project() for any other kind.
Tensor linear(const Tensor& x_TI, const std::shared_ptr<const LinearWeight>& weight, const std::optional<Tensor>& bias_O);

/// An adapted projection as a composition of differentiable ATen operations.
Tensor lora_linear_reference(const Tensor& x_TI, const Tensor& W_OI, const std::optional<Tensor>& bias_O, const LowRankTerm& term);

/// Only the low-rank part, differentiable, for a host's second and further attachments: y_TO in A's dtype.
Tensor low_rank(const Tensor& x_TI, const LowRankTerm& term);

}  // namespace lora::ops
