#include "lora/ops/gated_activation.h"

#include <torch/csrc/autograd/custom_function.h>

#include "ops/cpu/launch.h"
#include "ops/cuda_kernels.h"

namespace lora::ops {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct Gated : torch::autograd::Function<Gated> {
  static Tensor forward(AutogradContext* ctx, const Tensor& gate_in, const Tensor& up_in, int64_t kind) {
    const Tensor gate = gate_in.contiguous(), up = up_in.contiguous();
    ctx->save_for_backward({gate, up});
    ctx->saved_data["kind"] = kind;
    if (const CudaKernels* kernels = cuda_kernels(gate)) {
      return gated_activation_cuda(*kernels, static_cast<Activation>(kind), gate, up);
    }
    const Tensor y = at::empty_like(gate);
    cpu::with_element(gate.scalar_type(), [&]<typename S>() {
      cpu::in_parallel(gate.numel(), 1, [&](int64_t begin, int64_t end) {
        cpu::gated_activation(static_cast<Activation>(kind), cpu::pointer<S>(gate) + begin, cpu::pointer<S>(up) + begin,
                              cpu::pointer<S>(y) + begin, end - begin);
      });
    });
    return y;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const Tensor &gate = saved[0], &up = saved[1];
    const auto kind = static_cast<Activation>(ctx->saved_data["kind"].toInt());
    if (const CudaKernels* kernels = cuda_kernels(gate)) {
      const GatedGradients found = gated_activation_backward_cuda(*kernels, kind, gate, up, grads[0].contiguous());
      return {found.dgate_TF, found.dup_TF, Tensor()};
    }
    const Tensor dy = grads[0].contiguous(), dgate = at::empty_like(gate), dup = at::empty_like(up);
    cpu::with_element(gate.scalar_type(), [&]<typename S>() {
      cpu::in_parallel(gate.numel(), 1, [&](int64_t begin, int64_t end) {
        cpu::gated_activation_backward(kind, cpu::pointer<S>(dy) + begin, cpu::pointer<S>(gate) + begin, cpu::pointer<S>(up) + begin,
                                       cpu::pointer<S>(dgate) + begin, cpu::pointer<S>(dup) + begin, end - begin);
      });
    });
    return {dgate, dup, Tensor()};
  }
};

/// gated_activation of the two halves of each row.
struct PackedGated : torch::autograd::Function<PackedGated> {
  static Tensor forward(AutogradContext* ctx, const Tensor& x_T2F, int64_t kind) {
    const Tensor x = x_T2F.contiguous();
    ctx->save_for_backward({x});
    ctx->saved_data["kind"] = kind;
    const int64_t width = x.size(1) / 2;
    if (const CudaKernels* kernels = cuda_kernels(x)) {
      return gated_activation_cuda(*kernels, static_cast<Activation>(kind), x.slice(1, width).contiguous(),
                                   x.slice(1, 0, width).contiguous());
    }
    Tensor y = at::empty({x.size(0), width}, x.options());
    cpu::with_element(x.scalar_type(), [&]<typename S>() {
      cpu::in_parallel(x.size(0), width, [&](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; ++t) {
          const S* const up = cpu::pointer<S>(x) + t * 2 * width;
          cpu::gated_activation(static_cast<Activation>(kind), up + width, up, cpu::pointer<S>(y) + t * width, width);
        }
      });
    });
    return y;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const Tensor x = ctx->get_saved_variables()[0], dy = grads[0].contiguous();
    const auto kind = static_cast<Activation>(ctx->saved_data["kind"].toInt());
    const int64_t width = x.size(1) / 2;
    if (const CudaKernels* kernels = cuda_kernels(x)) {
      const GatedGradients found =
          gated_activation_backward_cuda(*kernels, kind, x.slice(1, width).contiguous(), x.slice(1, 0, width).contiguous(), dy);
      return {at::cat({found.dup_TF, found.dgate_TF}, 1), Tensor()};
    }
    const Tensor dx = at::empty_like(x);
    cpu::with_element(x.scalar_type(), [&]<typename S>() {
      cpu::in_parallel(x.size(0), width, [&](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; ++t) {
          const S* const up = cpu::pointer<S>(x) + t * 2 * width;
          S* const dup = cpu::pointer<S>(dx) + t * 2 * width;
          cpu::gated_activation_backward(kind, cpu::pointer<S>(dy) + t * width, up + width, up, dup + width, dup, width);
        }
      });
    });
    return {dx, Tensor()};
  }
};

}  // namespace

Tensor gated_activation(Activation kind, const Tensor& gate, const Tensor& up) {
  const bool has_kernel = gate.is_cpu() || cuda_kernels(gate) != nullptr;
  return has_kernel ? Gated::apply(gate, up, static_cast<int64_t>(kind)) : gated_activation_reference(kind, gate, up);
}

Tensor packed_gated_activation(Activation kind, const Tensor& x_T2F) {
  if (x_T2F.is_cpu() || cuda_kernels(x_T2F) != nullptr) {
    return PackedGated::apply(x_T2F, static_cast<int64_t>(kind));
  }
  const std::vector<Tensor> halves = x_T2F.chunk(2, 1);
  return gated_activation_reference(kind, halves[1], halves[0]);
}

Tensor gated_activation_reference(Activation kind, const Tensor& gate, const Tensor& up) {
  return activation(kind, gate) * up;
}

Tensor activation(Activation kind, const Tensor& x) {
  switch (kind) {
    case Activation::kSilu:
      return at::silu(x);
    case Activation::kGelu:
      return at::gelu(x);
    case Activation::kGeluTanh:
      return at::gelu(x, "tanh");
    case Activation::kReluSquared:
      return at::relu(x).square();
    case Activation::kRelu:
      break;
  }
  return at::relu(x);
}

}  // namespace lora::ops
