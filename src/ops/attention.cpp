#include "lora/ops/attention.h"

#include <torch/torch.h>
#include <torch/version.h>

namespace lora::ops {

namespace {

bool flash_applies(const Tensor& q_THE) {
  const bool half = q_THE.scalar_type() == at::kHalf || q_THE.scalar_type() == at::kBFloat16;
  return q_THE.is_cuda() && half && q_THE.size(2) <= 256 && q_THE.size(2) % 8 == 0;
}

/// Flash attention 2 over cu_seqlens (Dao 2023). Its signature differs between LibTorch versions.
Tensor flash_attention(const Tensor& q_THE, const Tensor& k_TKE, const Tensor& v_TKE, const DocumentLayout& layout, double scale) {
  const int64_t longest = layout.max_document;
#if TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR < 15
  // 2.11 to 2.14 may take the descale factors of float8 between the flags and the scale; null either way.
  return std::get<0>(at::_flash_attention_forward(q_THE, k_TKE, v_TKE, layout.offsets, layout.offsets, longest, longest, 0.0, true, false,
                                                  std::optional<Tensor>(), std::optional<Tensor>(), std::optional<Tensor>(), scale));
#else
  return std::get<0>(
      at::_flash_attention_forward(q_THE, k_TKE, v_TKE, layout.offsets, layout.offsets, longest, longest, 0.0, true, false, scale));
#endif
}

/// SDPA over B documents of L tokens each, which stand end to end.
Tensor equal_documents(const Tensor& q_THE, const Tensor& k_TKE, const Tensor& v_TKE, int64_t documents, double scale) {
  const auto by_head = [documents](const Tensor& x) { return x.unflatten(0, {documents, x.size(0) / documents}).transpose(1, 2); };
  const Tensor out_BHLE =
      at::scaled_dot_product_attention(by_head(q_THE), by_head(k_TKE), by_head(v_TKE), {}, 0.0, /*is_causal=*/true, scale,
                                       /*enable_gqa=*/q_THE.size(1) != k_TKE.size(1));
  return out_BHLE.transpose(1, 2).flatten(0, 1);
}

/// Runs of neighbouring documents of one length go together.
Tensor attention_by_document(const Tensor& q_THE, const Tensor& k_TKE, const Tensor& v_TKE, const std::vector<int64_t>& offsets,
                             double scale) {
  std::vector<Tensor> outputs;
  size_t first = 0;
  const size_t documents = offsets.size() - 1;
  while (first < documents) {
    const int64_t length = offsets[first + 1] - offsets[first];
    size_t last = first + 1;
    while (last < documents && offsets[last + 1] - offsets[last] == length) {
      ++last;
    }
    const auto run = [&](const Tensor& x) { return x.slice(0, offsets[first], offsets[last]); };
    outputs.push_back(equal_documents(run(q_THE), run(k_TKE), run(v_TKE), static_cast<int64_t>(last - first), scale));
    first = last;
  }
  return outputs.size() == 1 ? outputs.front() : at::cat(outputs);
}

}  // namespace

Tensor causal_attention(const Tensor& q_THE, const Tensor& k_TKE, const Tensor& v_TKE, const DocumentLayout& layout, double scale) {
  if (flash_applies(q_THE)) {
    return flash_attention(q_THE, k_TKE, v_TKE, layout, scale);
  }
  return attention_by_document(q_THE, k_TKE, v_TKE, layout.host_offsets, scale);
}

Tensor causal_attention_reference(const Tensor& q_THE, const Tensor& k_TKE, const Tensor& v_TKE, const DocumentLayout& layout,
                                  double scale) {
  const int64_t tokens = q_THE.size(0);
  const int64_t group = q_THE.size(1) / k_TKE.size(1);
  const Tensor q_HTE = q_THE.transpose(0, 1);
  const Tensor k_HTE = k_TKE.repeat_interleave(group, 1).transpose(0, 1);
  const Tensor v_HTE = v_TKE.repeat_interleave(group, 1).transpose(0, 1);

  const Tensor document_T = at::empty({tokens}, at::kLong);
  for (size_t d = 0; d + 1 < layout.host_offsets.size(); ++d) {
    document_T.slice(0, layout.host_offsets[d], layout.host_offsets[d + 1]).fill_(static_cast<int64_t>(d));
  }
  const Tensor same_TT = document_T.unsqueeze(1) == document_T.unsqueeze(0);
  const Tensor visible_TT = at::tril(same_TT).to(q_THE.device());
  const Tensor scores_HTT = at::matmul(q_HTE, k_HTE.transpose(1, 2)) * scale;
  const auto wide = scores_HTT.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const Tensor masked_HTT = scores_HTT.to(wide).masked_fill(visible_TT.logical_not(), -std::numeric_limits<double>::infinity());
  const Tensor weights_HTT = at::softmax(masked_HTT, -1).to(q_THE.scalar_type());
  return at::matmul(weights_HTT, v_HTE).transpose(0, 1);
}

}  // namespace lora::ops
