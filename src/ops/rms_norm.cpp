#include "lora/ops/rms_norm.h"

#include <torch/csrc/autograd/custom_function.h>

#include "ops/cpu/launch.h"
#include "ops/cuda_kernels.h"

namespace lora::ops {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

at::ScalarType statistics_type(const Tensor& x) {
  return x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

struct RmsNorm : torch::autograd::Function<RmsNorm> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x, const Tensor& weight_D, double eps, NormWeight form) {
    ctx->saved_data["form"] = static_cast<int64_t>(form);
    ctx->saved_data["train_weight"] = weight_D.requires_grad();
    const Tensor x_TD = x.contiguous();
    if (const CudaKernels* kernels = cuda_kernels(x_TD)) {
      const RmsNormed normed = rms_norm_cuda(*kernels, x_TD, weight_D, eps, form);
      ctx->save_for_backward({x_TD, weight_D, normed.rstd_T});
      return normed.y_TD;
    }
    const Tensor y_TD = at::empty_like(x_TD);
    const Tensor rstd_T = at::empty({x_TD.size(0)}, x_TD.options().dtype(statistics_type(x_TD)));
    const int64_t dim = x_TD.size(1);
    cpu::with_element(x_TD.scalar_type(), [&]<typename S>() {
      cpu::in_parallel(x_TD.size(0), dim, [&](int64_t begin, int64_t end) {
        cpu::rms_norm(cpu::pointer<S>(x_TD) + begin * dim, cpu::pointer<S>(weight_D), cpu::pointer<S>(y_TD) + begin * dim,
                      cpu::pointer<cpu::Wide<S>>(rstd_T) + begin, end - begin, dim, eps);
      });
    });
    ctx->save_for_backward({x_TD, weight_D, rstd_T});
    return y_TD;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const Tensor &x_TD = saved[0], &weight_D = saved[1], &rstd_T = saved[2];
    const Tensor dy_TD = grads[0].contiguous();
    const bool train_weight = ctx->saved_data["train_weight"].toBool();
    if (const CudaKernels* kernels = cuda_kernels(x_TD)) {
      const auto form = static_cast<NormWeight>(ctx->saved_data["form"].toInt());
      const RmsNormGradients found = rms_norm_backward_cuda(*kernels, dy_TD, x_TD, rstd_T, weight_D, form, train_weight);
      return {found.dx_TD, found.dweight_D, Tensor(), Tensor()};
    }
    const int64_t dim = x_TD.size(1);
    Tensor dx_TD, dweight_D;
    if (ctx->needs_input_grad(0)) {
      dx_TD = at::empty_like(x_TD);
      cpu::with_element(x_TD.scalar_type(), [&]<typename S>() {
        cpu::in_parallel(x_TD.size(0), dim, [&](int64_t begin, int64_t end) {
          cpu::rms_norm_backward(cpu::pointer<S>(dy_TD) + begin * dim, cpu::pointer<S>(x_TD) + begin * dim, cpu::pointer<S>(weight_D),
                                 cpu::pointer<cpu::Wide<S>>(rstd_T) + begin, cpu::pointer<S>(dx_TD) + begin * dim, end - begin, dim);
        });
      });
    }
    if (train_weight) {
      const Tensor quotient_TD = (x_TD.to(rstd_T.scalar_type()) * rstd_T.unsqueeze(1)).to(x_TD.scalar_type());
      dweight_D = (dy_TD * quotient_TD).sum(0);
    }
    return {dx_TD, dweight_D, Tensor(), Tensor()};
  }
};

}  // namespace

Tensor rms_norm(const Tensor& x_TD, const Tensor& weight_D, double eps, NormWeight form) {
  const bool has_cuda_kernel = form != NormWeight::kWide && cuda_kernels(x_TD) != nullptr;
  if (has_cuda_kernel || (x_TD.is_cpu() && form == NormWeight::kPlain)) {
    return RmsNorm::apply(x_TD, weight_D, eps, form);
  }
  if (x_TD.is_cpu()) {
    // In a wide dtype nothing is rounded between the steps of the plain norm.
    const Tensor wide_D = weight_D.to(statistics_type(x_TD));
    const Tensor factor_D = form == NormWeight::kOnePlus ? wide_D + 1 : wide_D;
    return rms_norm(x_TD.to(statistics_type(x_TD)), factor_D, eps).to(x_TD.scalar_type());
  }
  return rms_norm_reference(x_TD, weight_D, eps, form);
}

Tensor rms_norm_reference(const Tensor& x_TD, const Tensor& weight_D, double eps, NormWeight form) {
  const Tensor wide_TD = x_TD.to(statistics_type(x_TD));
  const Tensor quotient_TD = wide_TD * at::rsqrt(wide_TD.square().mean(-1, /*keepdim=*/true) + eps);
  if (form == NormWeight::kPlain) {
    return weight_D * quotient_TD.to(x_TD.scalar_type());
  }
  const Tensor wide_D = weight_D.to(statistics_type(x_TD));
  return (quotient_TD * (form == NormWeight::kOnePlus ? 1 + wide_D : wide_D)).to(x_TD.scalar_type());
}

}  // namespace lora::ops
