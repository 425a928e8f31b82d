// N images, L queries, S keys, H heads, E channels of a head.
#include "lora/ops/rectangle_attention.h"

#include <ATen/ATen.h>

namespace lora::ops {

Tensor rectangle_attention(const Tensor& q_NLHE, const Tensor& k_NSHE, const Tensor& v_NSHE, double scale) {
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
