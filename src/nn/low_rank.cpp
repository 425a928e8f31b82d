#include "lora/nn/low_rank.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "lora/base/random.h"
#include "lora/nn/pass.h"
#include "lora/ops/conv2d.h"
#include "lora/ops/dora_linear.h"

namespace lora::nn {

namespace {

/// A convolution's A or B as a matrix, whose rows are kernels.
Tensor as_rows(const Tensor& factor) {
  return factor.dim() == 2 ? factor : factor.flatten(1);
}

/// The dropout of pixels, [N, H, W, I].
Tensor dropped_pixels(const Tensor& x_NHWI, const ops::DropoutDraw& draw) {
  return draw.active() ? ops::differentiable_dropout(x_NHWI.flatten(0, 2), draw).view(x_NHWI.sizes()) : x_NHWI;
}

}  // namespace

LowRank::LowRank(std::string adapter, Tensor A_RI, Tensor B_OR, double scale, double dropout)
    : Attachment(std::move(adapter)), A_RI(std::move(A_RI)), B_OR(std::move(B_OR)), scale(scale), dropout(dropout) {}

std::vector<Tensor> LowRank::tensors() const {
  std::vector<Tensor> all{A_RI, B_OR};
  for (const std::optional<Tensor>& more : {bias_O, magnitude_O}) {
    if (more) {
      all.push_back(*more);
    }
  }
  return all;
}

Kept LowRank::kept(int64_t out_features) const {
  return {magnitude_O ? out_features : 0, A_RI.size(0)};
}

ops::LowRankTerm LowRank::term(const Pass& pass, uint64_t host_key) const {
  return {as_rows(A_RI), as_rows(B_OR), scale, {pass.row_keys_T, mix64(host_key, hash_name(adapter)), dropout}, bias_O};
}

Tensor LowRank::row_norms(const std::shared_ptr<const ops::LinearWeight>& weight, bool training) const {
  // With recomputation the forward of a training pass has no graph, and a recorded pass must not depend on values kept outside of it.
  const bool computes = training || at::GradMode::is_enabled();
  const Tensor A = as_rows(A_RI), B = as_rows(B_OR);
  return computes ? norms.computed(weight, A, B, scale) : norms.kept(weight, A, B, scale);
}

Tensor LowRank::project(const ProjectionCall& call, const Tensor& y_TO) const {
  if (!magnitude_O) {
    const Tensor before_TO = y_TO.defined() ? y_TO : call.base();
    return (before_TO + ops::low_rank(call.x_TI, term(call.pass, call.host_key))).to(call.x_TI.scalar_type());
  }
  const ops::DoraTerm dora{term(call.pass, call.host_key), magnitude_O->flatten(), row_norms(call.weight, call.pass.training())};
  if (!y_TO.defined()) {
    return ops::dora_linear(call.x_TI, call.weight, call.bias_O, dora);
  }
  return y_TO + (ops::dora_linear(call.x_TI, call.weight, std::nullopt, dora) - ops::linear(call.x_TI, call.weight, std::nullopt));
}

/// As in PEFT: where something is dropped, the base's part of DoRA sees it too.
Tensor LowRank::convolve(const ConvolutionCall& call, const Tensor& y_NHWO) const {
  const ops::LowRankTerm pair = term(call.pass, call.host_key);
  const at::ScalarType wide = A_RI.scalar_type();
  const Tensor dropped_NHWI = dropped_pixels(call.x_NHWI, pair.dropout);
  Tensor low_NHWO = at::matmul(ops::conv2d(dropped_NHWI.to(wide), A_RI, std::nullopt, call.steps), pair.B_OR.t());
  low_NHWO = (bias_O ? low_NHWO + *bias_O : low_NHWO) * scale;
  if (!magnitude_O) {
    return ((y_NHWO.defined() ? y_NHWO : call.base()) + low_NHWO).to(call.x_NHWI.scalar_type());
  }
  const Tensor factor_O = magnitude_O->flatten() / row_norms(call.weight, call.pass.training());
  const Tensor base_NHWO = call.convolved(dropped_NHWI, std::nullopt);
  Tensor sum_NHWO = factor_O * (base_NHWO + low_NHWO);
  if (y_NHWO.defined() || pair.dropout.active()) {
    sum_NHWO = sum_NHWO - base_NHWO + (y_NHWO.defined() ? y_NHWO : call.base());
  } else if (call.bias_O) {
    sum_NHWO = sum_NHWO + *call.bias_O;
  }
  return sum_NHWO.to(call.x_NHWI.scalar_type());
}

/// The sum is in float32 and rounded once.
Tensor LowRank::look_up(const LookupCall& call, const Tensor& x_TD) const {
  const Tensor sum_TD = x_TD + at::embedding(A_RI.t(), call.ids_T).mm(B_OR.t()) * scale;
  if (!magnitude_O) {
    return sum_TD.to(x_TD.scalar_type());
  }
  return (sum_TD * (*magnitude_O / row_norms(call.weight, /*training=*/false))).to(x_TD.scalar_type());
}

Tensor LowRank::applied_to(const std::shared_ptr<const ops::LinearWeight>& weight) const {
  Tensor sum_OI = ops::adapted_weight(*weight, as_rows(A_RI), as_rows(B_OR), scale);
  if (magnitude_O) {
    sum_OI = sum_OI * (magnitude_O->flatten() / row_norms(weight, /*training=*/false)).unsqueeze(1);
  }
  return sum_OI.to(weight->dtype());
}

}  // namespace lora::nn
