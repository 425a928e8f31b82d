// N images, L queries, S keys, H heads, E channels of a head.
#include "lora/ops/rectangle_attention.h"

#include <ATen/ATen.h>

#include "ops/attention_on_cpu.h"

namespace lora::ops {

namespace {

/// Where each image's rows begin.
std::vector<int64_t> equal_offsets(const Tensor& x_NLHE) {
  std::vector<int64_t> offsets;
  for (int64_t i = 0; i <= x_NLHE.size(0); ++i) {
    offsets.push_back(i * x_NLHE.size(1));
  }
  return offsets;
}

}  // namespace

Tensor rectangle_attention(const Tensor& q_NLHE, const Tensor& k_NSHE, const Tensor& v_NSHE, double scale) {
  if (cpu::attention_applies(q_NLHE.flatten(0, 1))) {
    const cpu::AttentionPlaces places{equal_offsets(q_NLHE), equal_offsets(k_NSHE), /*causal=*/false};
    return attention_on_cpu(q_NLHE.flatten(0, 1), k_NSHE.flatten(0, 1), v_NSHE.flatten(0, 1), places, scale).view_as(q_NLHE);
  }
  const auto by_head = [](const Tensor& x) { return x.transpose(1, 2); };
  const Tensor out_NHLE = at::scaled_dot_product_attention(by_head(q_NLHE), by_head(k_NSHE), by_head(v_NSHE), {}, 0.0,
                                                           /*is_causal=*/false, scale);
  return by_head(out_NHLE).contiguous();
}

Tensor rectangle_attention_reference(const Tensor& q_NLHE, const Tensor& k_NSHE, const Tensor& v_NSHE, double scale) {
  const Tensor scores_NHLS = at::einsum("nlhe,nshe->nhls", {q_NLHE, k_NSHE}) * scale;
  const at::ScalarType wide = q_NLHE.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const Tensor weights_NHLS = at::softmax(scores_NHLS.to(wide), -1).to(q_NLHE.scalar_type());
  return at::einsum("nhls,nshe->nlhe", {weights_NHLS, v_NSHE});
}

}  // namespace lora::ops
