#include "lora/ops/rotary.h"

#include <torch/csrc/autograd/custom_function.h>

#include "ops/cpu/launch.h"
#include "ops/cuda_kernels.h"

namespace lora::ops {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

Tensor rotated(const Tensor& x, const Tensor& cos_TR, const Tensor& sin_TR, bool backward) {
  const Tensor x_THE = x.contiguous(), y_THE = at::empty_like(x_THE);
  const int64_t heads = x_THE.size(1), dim = x_THE.size(2), rotated = cos_TR.size(1), row = heads * dim;
  cpu::with_element(x_THE.scalar_type(), [&]<typename S>() {
    cpu::in_parallel(x_THE.size(0), row, [&](int64_t begin, int64_t end) {
      cpu::rotate(cpu::pointer<S>(x_THE) + begin * row, cpu::pointer<S>(cos_TR) + begin * rotated,
                  cpu::pointer<S>(sin_TR) + begin * rotated, cpu::pointer<S>(y_THE) + begin * row, end - begin, heads, dim, rotated,
                  backward);
    });
  });
  return y_THE;
}

struct Rotary : torch::autograd::Function<Rotary> {
  static variable_list forward(AutogradContext* ctx, const Tensor& q_THE, const Tensor& k_TKE, const Tensor& cos_TR, const Tensor& sin_TR) {
    ctx->save_for_backward({cos_TR, sin_TR});
    return both(q_THE, k_TKE, cos_TR, sin_TR, false);
  }
  static variable_list both(const Tensor& q, const Tensor& k, const Tensor& cos_TR, const Tensor& sin_TR, bool backward) {
    if (const CudaKernels* kernels = cuda_kernels(cos_TR)) {
      const Tensor q_THE = q.clone(at::MemoryFormat::Contiguous), k_TKE = k.clone(at::MemoryFormat::Contiguous);
      rope_cuda_(*kernels, q_THE, k_TKE, cos_TR, sin_TR, backward);
      return {q_THE, k_TKE};
    }
    return {rotated(q, cos_TR, sin_TR, backward), rotated(k, cos_TR, sin_TR, backward)};
  }
  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const variable_list turned_back = both(grads[0], grads[1], saved[0], saved[1], true);
    return {turned_back[0], turned_back[1], Tensor(), Tensor()};
  }
};

}  // namespace

std::pair<Tensor, Tensor> rotary_embedding(const Tensor& q_THE, const Tensor& k_TKE, const Tensor& cos_TR, const Tensor& sin_TR) {
  if (!q_THE.is_cpu() && cuda_kernels(q_THE) == nullptr) {
    return {rotary_embedding_reference(q_THE, cos_TR, sin_TR), rotary_embedding_reference(k_TKE, cos_TR, sin_TR)};
  }
  const variable_list turned = Rotary::apply(q_THE, k_TKE, cos_TR.contiguous(), sin_TR.contiguous());
  return {turned[0], turned[1]};
}

Tensor rotary_embedding_reference(const Tensor& x_THE, const Tensor& cos_TR, const Tensor& sin_TR) {
  const int64_t rotated = cos_TR.size(1);
  const Tensor x_THR = x_THE.slice(2, 0, rotated);
  const std::vector<Tensor> halves = x_THR.chunk(2, -1);
  const Tensor quarter_turn_THR = at::cat({-halves[1], halves[0]}, -1);
  const Tensor y_THR = x_THR * cos_TR.unsqueeze(1) + quarter_turn_THR * sin_TR.unsqueeze(1);
  return rotated == x_THE.size(2) ? y_THR : at::cat({y_THR, x_THE.slice(2, rotated)}, -1);
}

}  // namespace lora::ops
