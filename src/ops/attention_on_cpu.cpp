#include "ops/attention_on_cpu.h"

#include <torch/csrc/autograd/custom_function.h>

namespace lora::ops {

namespace {

using at::Tensor;

struct CpuAttention : torch::autograd::Function<CpuAttention> {
  static Tensor forward(torch::autograd::AutogradContext* ctx, const Tensor& q_THE, const Tensor& k_SKE, const Tensor& v_SKE,
                        const cpu::AttentionPlaces& places, double scale) {
    const Tensor q = q_THE.contiguous(), k = k_SKE.contiguous(), v = v_SKE.contiguous();
    const cpu::AttentionResult result = cpu::attention(q, k, v, places, scale);
    ctx->save_for_backward({q, k, v, result.out_THE, result.softmax_TH2});
    ctx->saved_data["queries"] = places.queries;
    ctx->saved_data["keys"] = places.keys;
    ctx->saved_data["causal"] = places.causal;
    ctx->saved_data["scale"] = scale;
    return result.out_THE;
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx, torch::autograd::variable_list grads) {
    const torch::autograd::variable_list saved = ctx->get_saved_variables();
    const cpu::AttentionPlaces places{ctx->saved_data["queries"].toIntVector(), ctx->saved_data["keys"].toIntVector(),
                                      ctx->saved_data["causal"].toBool()};
    const cpu::AttentionGradients gradients = cpu::attention_backward(grads[0].contiguous(), saved[0], saved[1], saved[2],
                                                                      {saved[3], saved[4]}, places, ctx->saved_data["scale"].toDouble());
    return {gradients.dq_THE, gradients.dk_SKE, gradients.dv_SKE, Tensor(), Tensor()};
  }
};

}  // namespace

Tensor attention_on_cpu(const Tensor& q_THE, const Tensor& k_SKE, const Tensor& v_SKE, const cpu::AttentionPlaces& places, double scale) {
  return CpuAttention::apply(q_THE, k_SKE, v_SKE, places, scale);
}

}  // namespace lora::ops
