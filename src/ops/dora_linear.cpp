#include "lora/ops/dora_linear.h"

#include <torch/csrc/autograd/custom_function.h>

#include <memory>

namespace lora::ops {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

/// The weight, until backward.
struct KeptWeight : torch::CustomClassHolder {
  explicit KeptWeight(std::shared_ptr<const LinearWeight> weight) : weight(std::move(weight)) {}
  std::shared_ptr<const LinearWeight> weight;
};

/// T tokens, I in, O out, R rank. W is dequantised once for the two products with it.
struct DoraLinear : Function<DoraLinear> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x_TI, const c10::intrusive_ptr<KeptWeight>& kept,
                        const std::optional<Tensor>& bias_O, const Tensor& A_RI, const Tensor& B_OR, const Tensor& magnitude_O,
                        const Tensor& norm_O, const std::optional<Tensor>& row_keys_T, double scale, double p, int64_t site_key) {
    const Tensor W_OI = kept->weight->dequantised();
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
    ctx->save_for_backward({x_TI, A_RI, B_OR, magnitude_O, norm_O, xa_TR, z_TO.to(x_TI.scalar_type()), draw.row_keys_T});
    ctx->saved_data["weight"] = at::IValue::make_capsule(kept);
    ctx->saved_data["scale"] = scale;
    ctx->saved_data["p"] = p;
    ctx->saved_data["site_key"] = site_key;
    ctx->saved_data["train_bias"] = bias_O && bias_O->requires_grad();
    return y_TO.to(x_TI.scalar_type());
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const Tensor &x_TI = saved[0], &A_RI = saved[1], &B_OR = saved[2], &magnitude_O = saved[3], &norm_O = saved[4], &xa_TR = saved[5],
                 &z_TO = saved[6];
    const double scale = ctx->saved_data["scale"].toDouble();
    const DropoutDraw draw{saved[7], static_cast<uint64_t>(ctx->saved_data["site_key"].toInt()), ctx->saved_data["p"].toDouble()};
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
      const Tensor W_OI = c10::static_intrusive_pointer_cast<KeptWeight>(ctx->saved_data["weight"].toCapsule())->weight->dequantised();
      const Tensor low_TI = dxa_TR.mm(A_RI).to(narrow);
      dx_TI = draw.active() ? grads[0].mm(W_OI) + dropout((dz_TO - dy_TO).to(narrow).mm(W_OI) + low_TI, draw)
                            : dz_TO.to(narrow).mm(W_OI).add_(low_TI);
    }
    return {dx_TI, Tensor(), dbias_O, dA_RI, dB_OR, dmagnitude_O, Tensor(), Tensor(), Tensor(), Tensor(), Tensor()};
  }
};

}  // namespace

Tensor dora_linear(const Tensor& x_TI, const std::shared_ptr<const LinearWeight>& weight, const std::optional<Tensor>& bias_O,
                   const DoraTerm& term) {
  TORCH_CHECK(!weight->requires_grad(), "dora_linear: the weight must be frozen");
  const LowRankTerm& low = term.low_rank;
  const std::optional<Tensor> row_keys_T = low.dropout.active() ? std::optional(low.dropout.row_keys_T) : std::nullopt;
  return DoraLinear::apply(x_TI, c10::make_intrusive<KeptWeight>(weight), bias_O, low.A_RI, low.B_OR, term.magnitude_O, term.norm_O,
                           row_keys_T, low.scale, low.dropout.p, static_cast<int64_t>(low.dropout.site_key));
}

Tensor dora_linear_reference(const Tensor& x_TI, const Tensor& W_OI, const std::optional<Tensor>& bias_O, const DoraTerm& term) {
  const LowRankTerm& low = term.low_rank;
  const Tensor g_O = term.magnitude_O / term.norm_O;
  const Tensor dropped_TI = differentiable_dropout(x_TI, low.dropout);
  const Tensor change_TO = (g_O - 1) * at::linear(dropped_TI, W_OI) + g_O * low_rank(x_TI, low);
  return (at::linear(x_TI, W_OI, bias_O ? *bias_O : Tensor()) + change_TO).to(x_TI.scalar_type());
}

}  // namespace lora::ops
