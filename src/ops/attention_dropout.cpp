// T tokens of all documents, L of one, H query heads, K key heads, E head size.
#include "lora/ops/attention_dropout.h"

#include <ATen/ATen.h>

#include <limits>

namespace lora::ops {

namespace {

/// One document. Each query's random numbers are a row of H · L elements, so that they do not depend on other documents.
Tensor attend_to_document(const Tensor& q_LHE, const Tensor& k_LKE, const Tensor& v_LKE, const AttentionOptions& options,
                          const DropoutDraw& draw) {
  const int64_t length = q_LHE.size(0), heads = q_LHE.size(1), group = heads / k_LKE.size(1);
  const Tensor k_HLE = k_LKE.repeat_interleave(group, 1).transpose(0, 1);
  const Tensor v_HLE = v_LKE.repeat_interleave(group, 1).transpose(0, 1);
  Tensor scores_HLL = at::matmul(q_LHE.transpose(0, 1), k_HLE.transpose(1, 2)) * options.scale;
  if (options.soft_cap) {
    scores_HLL = at::tanh(scores_HLL / *options.soft_cap) * *options.soft_cap;
  }
  const Tensor pairs_LL = at::ones({length, length}, q_LHE.options().dtype(at::kBool));
  const int64_t reach = options.window.value_or(length);  // the distance to the nearest tokens that are hidden
  const Tensor hidden_LL = pairs_LL.tril(-reach).logical_or(pairs_LL.triu(options.causal ? 1 : reach));
  const auto wide = scores_HLL.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const Tensor masked_HLL = scores_HLL.to(wide).masked_fill(hidden_LL, -std::numeric_limits<double>::infinity());
  const Tensor weights_HLL = at::softmax(masked_HLL, -1).to(q_LHE.scalar_type());
  const Tensor dropped_LW = differentiable_dropout(weights_HLL.transpose(0, 1).reshape({length, heads * length}), draw);
  return at::matmul(dropped_LW.view({length, heads, length}).transpose(0, 1), v_HLE).transpose(0, 1);
}

}  // namespace

Tensor document_attention_with_dropout(const Tensor& q_THE, const Tensor& k_TKE, const Tensor& v_TKE, const DocumentLayout& layout,
                                       const AttentionOptions& options, const DropoutDraw& draw) {
  TORCH_CHECK(!layout.is_replayed,
              "attention with dropout: found lengths that only the device knows, expected no dropout (model.base_dropout 0)");
  std::vector<Tensor> outputs;
  for (size_t d = 0; d + 1 < layout.host_offsets.size(); ++d) {
    const auto own = [&](const Tensor& x) { return x.slice(0, layout.host_offsets[d], layout.host_offsets[d + 1]); };
    const DropoutDraw of_document{draw.row_keys_T.defined() ? own(draw.row_keys_T) : Tensor(), draw.site_key, draw.p};
    outputs.push_back(attend_to_document(own(q_THE), own(k_TKE), own(v_TKE), options, of_document));
  }
  return outputs.size() == 1 ? outputs.front() : at::cat(outputs);
}

}  // namespace lora::ops
