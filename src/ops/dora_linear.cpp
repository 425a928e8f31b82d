#include "lora/ops/dora_linear.h"

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

namespace lora::ops {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

/// T tokens, I in, O out, R rank.
struct DoraLinear : Function<DoraLinear> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x_TI, const Tensor& W_OI, const std::optional<Tensor>& bias_O,
                        const Tensor& A_RI, const Tensor& B_OR, const Tensor& magnitude_O, const Tensor& norm_O,
                        const std::optional<Tensor>& row_keys_T, double scale, double p, int64_t site_key) {
    const DropoutDraw draw{row_keys_T.value_or(Tensor()), static_cast<uint64_t>(site_key), p};
    const at::ScalarType wide = A_RI.scalar_type();
    const Tensor dropped_TI = draw.active() ? dropout(x_TI, draw) : x_TI;
    const Tensor xa_TR = dropped_TI.to(wide).mm(A_RI.t());
    const Tensor z_TO = at::addmm(dropped_TI.mm(W_OI.t()).to(wide), xa_TR, B_OR.t(), 1, scale);
    Tensor y_TO = z_TO * (magnitude_O / norm_O);
    if (draw.active()) {
      y_TO.add_((x_TI - dropped_TI).mm(W_OI.t()));
    }
    if (bias_O) {
      y_TO.add_(*bias_O);
    }
    ctx->save_for_backward({x_TI, W_OI, A_RI, B_OR, magnitude_O, norm_O, xa_TR, z_TO.to(x_TI.scalar_type()), draw.row_keys_T});
    ctx->saved_data["scale"] = scale;
    ctx->saved_data["p"] = p;
    ctx->saved_data["site_key"] = site_key;
    ctx->saved_data["train_bias"] = bias_O && bias_O->requires_grad();
    return y_TO.to(x_TI.scalar_type());
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const Tensor &x_TI = saved[0], &W_OI = saved[1], &A_RI = saved[2], &B_OR = saved[3], &magnitude_O = saved[4], &norm_O = saved[5],
                 &xa_TR = saved[6], &z_TO = saved[7];
    const double scale = ctx->saved_data["scale"].toDouble();
    const DropoutDraw draw{saved[8], static_cast<uint64_t>(ctx->saved_data["site_key"].toInt()), ctx->saved_data["p"].toDouble()};
    const at::ScalarType wide = A_RI.scalar_type();

    const Tensor dy_TO = grads[0].to(wide);
    const Tensor dz_TO = dy_TO * (magnitude_O / norm_O);
    const Tensor dxa_TR = dz_TO.mm(B_OR).mul_(scale);
    const Tensor dropped_TI = (draw.active() ? dropout(x_TI, draw) : x_TI).to(wide);
    const Tensor dA_RI = dxa_TR.t().mm(dropped_TI);
    const Tensor dB_OR = dz_TO.t().mm(xa_TR).mul_(scale);
    const Tensor dmagnitude_O = (dy_TO * z_TO).sum(0).div_(norm_O);
    const Tensor dbias_O = ctx->saved_data["train_bias"].toBool() ? dy_TO.sum(0).to(x_TI.scalar_type()) : Tensor();

    Tensor dx_TI;
    if (ctx->needs_input_grad(0)) {
      const at::ScalarType narrow = x_TI.scalar_type();
      const Tensor low_TI = dxa_TR.mm(A_RI).to(narrow);
      dx_TI = draw.active() ? grads[0].mm(W_OI) + dropout((dz_TO - dy_TO).to(narrow).mm(W_OI) + low_TI, draw)
                            : dz_TO.to(narrow).mm(W_OI).add_(low_TI);
    }
    return {dx_TI, Tensor(), dbias_O, dA_RI, dB_OR, dmagnitude_O, Tensor(), Tensor(), Tensor(), Tensor(), Tensor()};
  }
};

/// Elements of W that are widened at a time: 16 MiB in float32.
constexpr int64_t kNormChunkElements = int64_t{1} << 22;

/// W Aᵀ in A's dtype; W may be in a narrower one.
Tensor widened_product(const Tensor& W_OI, const Tensor& A_RI) {
  if (W_OI.scalar_type() == A_RI.scalar_type()) {
    return W_OI.mm(A_RI.t());
  }
  const int64_t rows = std::max<int64_t>(1, kNormChunkElements / W_OI.size(1));
  std::vector<Tensor> parts;
  for (const Tensor& W_CI : W_OI.split(rows)) {
    parts.push_back(W_CI.to(A_RI.scalar_type()).mm(A_RI.t()));
  }
  return at::cat(parts);
}

}  // namespace

Tensor dora_linear(const Tensor& x_TI, const Tensor& W_OI, const std::optional<Tensor>& bias_O, const DoraTerm& term) {
  TORCH_CHECK(!W_OI.requires_grad(), "dora_linear: the weight must be frozen");
  const LowRankTerm& low = term.low_rank;
  const std::optional<Tensor> row_keys_T = low.dropout.active() ? std::optional(low.dropout.row_keys_T) : std::nullopt;
  return DoraLinear::apply(x_TI, W_OI, bias_O, low.A_RI, low.B_OR, term.magnitude_O, term.norm_O, row_keys_T, low.scale, low.dropout.p,
                           static_cast<int64_t>(low.dropout.site_key));
}

Tensor dora_linear_reference(const Tensor& x_TI, const Tensor& W_OI, const std::optional<Tensor>& bias_O, const DoraTerm& term) {
  const LowRankTerm& low = term.low_rank;
  const Tensor g_O = term.magnitude_O / term.norm_O;
  const Tensor dropped_TI = differentiable_dropout(x_TI, low.dropout);
  const Tensor change_TO = (g_O - 1) * at::linear(dropped_TI, W_OI) + g_O * low_rank(x_TI, low);
  return (at::linear(x_TI, W_OI, bias_O ? *bias_O : Tensor()) + change_TO).to(x_TI.scalar_type());
}

Tensor row_norms(const Tensor& W_OI, at::ScalarType dtype) {
  return at::linalg_vector_norm(W_OI, 2, {1}, /*keepdim=*/false, dtype);
}

Tensor adapted_row_norms(const Tensor& W_OI, const Tensor& base_norm_O, const Tensor& A_RI, const Tensor& B_OR, double scale) {
  const at::NoGradGuard no_grad;
  const Tensor base_O = base_norm_O.to(at::kDouble).square();
  const Tensor cross_O = (widened_product(W_OI, A_RI) * B_OR).sum(1, /*keepdim=*/false, at::kDouble);
  const Tensor low_O = (B_OR.mm(A_RI.mm(A_RI.t())) * B_OR).sum(1, /*keepdim=*/false, at::kDouble);
  const Tensor terms_O = base_O + low_O * (scale * scale);
  const Tensor square_O = terms_O + cross_O * (2 * scale);
  Tensor norm_O = square_O.clamp_min(0).sqrt().to(A_RI.scalar_type());
  // Where the terms cancel, so do their significant digits.
  const Tensor cancelled_N = square_O.lt(0.1 * terms_O).nonzero().squeeze(1);
  if (cancelled_N.size(0) > 0) {
    const Tensor W_NI = W_OI.index_select(0, cancelled_N).to(A_RI.scalar_type());
    norm_O.index_copy_(0, cancelled_N, row_norms(at::addmm(W_NI, B_OR.index_select(0, cancelled_N), A_RI, 1, scale), A_RI.scalar_type()));
  }
  return norm_O;
}

}  // namespace lora::ops
