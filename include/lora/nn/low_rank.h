#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lora/nn/attachment.h"
#include "lora/nn/row_norms.h"
#include "lora/ops/lora_linear.h"

namespace lora::nn {

/// A low-rank attachment: scale · (dropout(x) Aᵀ Bᵀ + bias). With a magnitude it is DoRA (Liu et al. 2024): each row of W + scale · B A
/// is scaled to the norm that the magnitude gives. A convolution's A is a convolution with the base's steps, [R, I, height, width], its B
/// one of single pixels, [O, R, 1, 1], and its magnitude [1, O, 1, 1]: as matrices they have the same formulas. For an embedding x is
/// one-hot: I are token ids and O channels, and there is no dropout, as in PEFT.
struct LowRank : Attachment {
  LowRank(std::string adapter, Tensor A_RI, Tensor B_OR, double scale = 1.0, double dropout = 0.0);

  std::vector<Tensor> tensors() const override;
  Kept kept(int64_t out_features) const override;
  const LowRank* fused() const override { return magnitude_O ? nullptr : this; }
  Tensor project(const ProjectionCall& call, const Tensor& y_TO) const override;
  Tensor convolve(const ConvolutionCall& call, const Tensor& y_NHWO) const override;
  Tensor look_up(const LookupCall& call, const Tensor& x_TD) const override;

  /// The pair for the ops. @param host_key the hash of the host's name.
  ops::LowRankTerm term(const Pass& pass, uint64_t host_key) const;
  /// The weight that gives the same result as W and this pair, without dropout and bias: [O, I] in W's dtype.
  Tensor applied_to(const std::shared_ptr<const ops::LinearWeight>& weight) const;

  Tensor A_RI;
  Tensor B_OR;
  double scale;
  double dropout;
  std::optional<Tensor> bias_O = std::nullopt;       ///< PEFT's lora_bias; not with a magnitude
  std::optional<Tensor> magnitude_O = std::nullopt;  ///< DoRA
  RowNorms norms = {};

 private:
  /// The norms of the rows of W + scale · B A. @param training whether the pass trains, even if this part of it has no graph.
  Tensor row_norms(const std::shared_ptr<const ops::LinearWeight>& weight, bool training) const;
};

}  // namespace lora::nn
