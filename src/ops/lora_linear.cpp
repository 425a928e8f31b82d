#include "lora/ops/lora_linear.h"

#include <torch/torch.h>

namespace lora::ops {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

/// Both parts of the projection in one node of the graph. T tokens, I in, O out, R rank.
struct LoraLinear : Function<LoraLinear> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x_TI, const Tensor& W_OI, const std::optional<Tensor>& bias_O,
                        const Tensor& A_RI, const Tensor& B_OR, const std::optional<Tensor>& low_bias_O,
                        const std::optional<Tensor>& row_keys_T, double scale, double p, int64_t site_key) {
    const DropoutDraw draw{row_keys_T.value_or(Tensor()), static_cast<uint64_t>(site_key), p};
    const Tensor low_TI = (draw.active() ? dropout(x_TI, draw) : x_TI).to(A_RI.scalar_type());
    const Tensor xa_TR = low_TI.mm(A_RI.t());
    Tensor y_TO = bias_O ? at::addmm(*bias_O, x_TI, W_OI.t()) : x_TI.mm(W_OI.t());
    y_TO = y_TO.to(xa_TR.scalar_type()).addmm_(xa_TR, B_OR.t(), 1, scale);
    if (low_bias_O) {
      y_TO.add_(*low_bias_O, scale);
    }
    ctx->save_for_backward({x_TI, W_OI, A_RI, B_OR, xa_TR, draw.row_keys_T});
    ctx->saved_data["scale"] = scale;
    ctx->saved_data["p"] = p;
    ctx->saved_data["site_key"] = site_key;
    ctx->saved_data["train_bias"] = bias_O && bias_O->requires_grad();
    ctx->saved_data["train_low_bias"] = low_bias_O && low_bias_O->requires_grad();
    return y_TO.to(x_TI.scalar_type());
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const Tensor &x_TI = saved[0], &W_OI = saved[1], &A_RI = saved[2], &B_OR = saved[3], &xa_TR = saved[4];
    const double scale = ctx->saved_data["scale"].toDouble();
    const DropoutDraw draw{saved[5], static_cast<uint64_t>(ctx->saved_data["site_key"].toInt()), ctx->saved_data["p"].toDouble()};

    const Tensor dy_TO = grads[0].contiguous();
    const Tensor dy_low_TO = dy_TO.to(A_RI.scalar_type());
    const Tensor dyb_TR = dy_low_TO.mm(B_OR).mul_(scale);
    const Tensor low_TI = (draw.active() ? dropout(x_TI, draw) : x_TI).to(A_RI.scalar_type());
    const Tensor dA_RI = dyb_TR.t().mm(low_TI);
    const Tensor dB_OR = dy_low_TO.t().mm(xa_TR).mul_(scale);

    Tensor dx_TI;
    if (ctx->needs_input_grad(0)) {
      dx_TI = dy_TO.mm(W_OI);
      if (draw.active()) {
        dx_TI.add_(dropout(dyb_TR.mm(A_RI), draw).to(dx_TI.scalar_type()));
      } else if (dx_TI.scalar_type() == A_RI.scalar_type()) {
        dx_TI.addmm_(dyb_TR, A_RI);
      } else {
        dx_TI.add_(dyb_TR.mm(A_RI).to(dx_TI.scalar_type()));
      }
    }
    const bool train_bias = ctx->saved_data["train_bias"].toBool(), train_low_bias = ctx->saved_data["train_low_bias"].toBool();
    const Tensor dy_O = train_bias || train_low_bias ? dy_low_TO.sum(0) : Tensor();
    const Tensor dbias_O = train_bias ? dy_O.to(dy_TO.scalar_type()) : Tensor();
    const Tensor dlow_bias_O = train_low_bias ? dy_O * scale : Tensor();
    return {dx_TI, Tensor(), dbias_O, dA_RI, dB_OR, dlow_bias_O, Tensor(), Tensor(), Tensor(), Tensor()};
  }
};

}  // namespace

Tensor lora_linear(const Tensor& x_TI, const Tensor& W_OI, const std::optional<Tensor>& bias_O, const LowRankTerm& term) {
  TORCH_CHECK(!W_OI.requires_grad(), "lora_linear: the weight must be frozen");
  // Autograd takes no undefined tensor as an argument, only none.
  const std::optional<Tensor> row_keys_T = term.dropout.active() ? std::optional(term.dropout.row_keys_T) : std::nullopt;
  return LoraLinear::apply(x_TI, W_OI, bias_O, term.A_RI, term.B_OR, term.bias_O, row_keys_T, term.scale, term.dropout.p,
                           static_cast<int64_t>(term.dropout.site_key));
}

Tensor low_rank(const Tensor& x_TI, const LowRankTerm& term) {
  const Tensor dropped_TI = differentiable_dropout(x_TI, term.dropout).to(term.A_RI.scalar_type());
  const Tensor ab_TO = dropped_TI.mm(term.A_RI.t()).mm(term.B_OR.t());
  return (term.bias_O ? ab_TO + *term.bias_O : ab_TO) * term.scale;
}

Tensor lora_linear_reference(const Tensor& x_TI, const Tensor& W_OI, const std::optional<Tensor>& bias_O, const LowRankTerm& term) {
  const Tensor base_TO = at::linear(x_TI, W_OI, bias_O ? *bias_O : Tensor());
  return (base_TO + low_rank(x_TI, term)).to(x_TI.scalar_type());
}

}  // namespace lora::ops
