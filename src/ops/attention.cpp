#include "lora/ops/attention.h"

#include <ATen/ATen.h>
#include <torch/version.h>

#include "ops/attention_on_cpu.h"
#include "ops/block_attention.h"
#include "ops/cpu/attention.h"

namespace lora::ops {

namespace {

bool flash_applies(const Tensor& q_THE, const AttentionOptions& options) {
  const bool half = q_THE.scalar_type() == at::kHalf || q_THE.scalar_type() == at::kBFloat16;
  return q_THE.is_cuda() && half && q_THE.size(2) <= 256 && q_THE.size(2) % 8 == 0 && !options.soft_cap;
}

/// What flash attention reads of the keys: cumulative starts, and the number of used slots if not all are.
struct FlashKeys {
  const Tensor& begins;
  int64_t longest;
  std::optional<Tensor> lengths;
};

/// Flash attention 2 over cu_seqlens (Dao 2023), the last query at the last key. Its signature differs between LibTorch versions.
Tensor flash_attention(const Tensor& q_THE, const Tensor& k_SKE, const Tensor& v_SKE, const DocumentLayout& queries, const FlashKeys& keys,
                       const AttentionOptions& options) {
  const std::optional<int64_t> before = options.window ? std::optional(*options.window - 1) : std::nullopt;
  const std::optional<int64_t> after = !options.window ? std::nullopt : options.causal ? std::optional<int64_t>(0) : before;
#if TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR < 15
  // 2.11 to 2.14 may take the descale factors of float8 between the flags and the scale; null either way.
  const std::optional<Tensor> no_descale;
  return std::get<0>(at::_flash_attention_forward(q_THE, k_SKE, v_SKE, queries.offsets, keys.begins, queries.max_document, keys.longest,
                                                  0.0, options.causal, false, no_descale, no_descale, no_descale, options.scale, before,
                                                  after, keys.lengths));
#else
  return std::get<0>(at::_flash_attention_forward(q_THE, k_SKE, v_SKE, queries.offsets, keys.begins, queries.max_document, keys.longest,
                                                  0.0, options.causal, false, options.scale, before, after, keys.lengths));
#endif
}

/// SDPA over B documents of L tokens each, which are stored end to end.
Tensor equal_documents(const Tensor& q_THE, const Tensor& k_TKE, const Tensor& v_TKE, int64_t documents, const AttentionOptions& options) {
  const auto by_head = [documents](const Tensor& x) { return x.unflatten(0, {documents, x.size(0) / documents}).transpose(1, 2); };
  const Tensor out_BHLE =
      at::scaled_dot_product_attention(by_head(q_THE), by_head(k_TKE), by_head(v_TKE), {}, 0.0, options.causal, options.scale,
                                       /*enable_gqa=*/q_THE.size(1) != k_TKE.size(1));
  return out_BHLE.transpose(1, 2).flatten(0, 1);
}

/// Consecutive documents of equal length are computed together.
Tensor attention_by_document(const Tensor& q_THE, const Tensor& k_TKE, const Tensor& v_TKE, const std::vector<int64_t>& offsets,
                             const AttentionOptions& options) {
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
    outputs.push_back(equal_documents(run(q_THE), run(k_TKE), run(v_TKE), static_cast<int64_t>(last - first), options));
    first = last;
  }
  return outputs.size() == 1 ? outputs.front() : at::cat(outputs);
}

/// The options without a window that hides nothing in documents of this length.
AttentionOptions in_documents(const AttentionOptions& options, int64_t longest) {
  AttentionOptions needed = options;
  if (options.window && *options.window >= longest) {
    needed.window.reset();
  }
  return needed;
}

/// softmax(q kᵀ · scale) v of n queries and m keys, without hidden pairs; softmax in float32 or wider.
Tensor plain_attention(const Tensor& q_nHE, const Tensor& k_mKE, const Tensor& v_mKE, const Tensor& hidden_nm,
                       const AttentionOptions& options) {
  const int64_t group = q_nHE.size(1) / k_mKE.size(1);
  const Tensor q_HnE = q_nHE.transpose(0, 1);
  const Tensor k_HmE = k_mKE.repeat_interleave(group, 1).transpose(0, 1);
  const Tensor v_HmE = v_mKE.repeat_interleave(group, 1).transpose(0, 1);
  const Tensor scores_Hnm = capped_scores(at::matmul(q_HnE, k_HmE.transpose(1, 2)), options);
  const Tensor masked_Hnm = scores_Hnm.masked_fill(hidden_nm, -std::numeric_limits<double>::infinity());
  return at::matmul(at::softmax(masked_Hnm, -1).to(q_nHE.scalar_type()), v_HmE).transpose(0, 1);
}

/// SDPA of one document's n last tokens to its L keys, restricted to those that a token sees.
Tensor attend_to_keys(const Tensor& q_nHE, const Tensor& all_k_LKE, const Tensor& all_v_LKE, const AttentionOptions& options) {
  const auto by_head = [](const Tensor& x) { return x.transpose(0, 1).unsqueeze(0); };
  const int64_t tokens = q_nHE.size(0), heads = q_nHE.size(1), key_heads = all_k_LKE.size(1);
  const int64_t unseen = options.window ? std::max<int64_t>(0, all_k_LKE.size(0) - tokens - *options.window + 1) : 0;
  const Tensor k_LKE = all_k_LKE.slice(0, unseen), v_LKE = all_v_LKE.slice(0, unseen);
  const int64_t length = k_LKE.size(0);
  if (options.soft_cap) {
    return plain_attention(q_nHE, k_LKE, v_LKE, hidden_keys(length - tokens, tokens, length, options, q_nHE.device()), options);
  }
  if (tokens == 1) {
    // The query heads that share a key head become additional queries, so that keys are not copied for each of them.
    const Tensor q_KGE = q_nHE.view({key_heads, heads / key_heads, -1});
    const Tensor out_KGE =
        at::scaled_dot_product_attention(q_KGE.unsqueeze(0), by_head(k_LKE), by_head(v_LKE), {}, 0.0, /*is_causal=*/false, options.scale);
    return out_KGE.reshape({1, heads, -1});
  }
  const bool all_new = tokens == length && !in_documents(options, length).window;
  std::optional<Tensor> visible_nL;
  if (!all_new) {
    visible_nL = hidden_keys(length - tokens, tokens, length, options, q_nHE.device()).logical_not();
  }
  const Tensor out_HnE = at::scaled_dot_product_attention(by_head(q_nHE), by_head(k_LKE), by_head(v_LKE), visible_nL, 0.0, all_new,
                                                          options.scale, /*enable_gqa=*/heads != key_heads);
  return out_HnE.squeeze(0).transpose(0, 1);
}

/// Calls `attend` for each document with its queries and keys.
template <typename Attend>
Tensor for_each_document(const Tensor& q_THE, const Tensor& k_SKE, const Tensor& v_SKE, const DocumentLayout& queries,
                         const KeyLayout& keys, const Attend& attend) {
  std::vector<Tensor> outputs;
  for (size_t d = 0; d < keys.host_lengths.size(); ++d) {
    const int64_t begin = keys.host_begins[d], end = begin + keys.host_lengths[d];
    outputs.push_back(attend(q_THE.slice(0, queries.host_offsets[d], queries.host_offsets[d + 1]), k_SKE.slice(0, begin, end),
                             v_SKE.slice(0, begin, end)));
  }
  return outputs.size() == 1 ? outputs.front() : at::cat(outputs);
}

}  // namespace

Tensor document_attention(const Tensor& q_THE, const Tensor& k_TKE, const Tensor& v_TKE, const DocumentLayout& layout,
                          const AttentionOptions& options) {
  if (flash_applies(q_THE, options)) {
    return flash_attention(q_THE, k_TKE, v_TKE, layout, {layout.offsets, layout.max_document, {}}, options);
  }
  TORCH_CHECK(!layout.is_replayed, "attention: found lengths that only the device knows, which only flash attention reads, for ",
              q_THE.scalar_type(), " heads of ", q_THE.size(2), " channels on ", q_THE.device(),
              ", expected bfloat16 or float16, at most 256 channels, no soft cap");
  const AttentionOptions needed = in_documents(options, layout.max_document);
  if (needed.window || needed.soft_cap) {
    return block_attention(q_THE, k_TKE, v_TKE, layout.host_offsets, needed);
  }
  if (options.causal && cpu::attention_applies(q_THE)) {
    return attention_on_cpu(q_THE, k_TKE, v_TKE, {layout.host_offsets, layout.host_offsets}, options.scale);
  }
  return attention_by_document(q_THE, k_TKE, v_TKE, layout.host_offsets, options);
}

Tensor document_attention_reference(const Tensor& q_THE, const Tensor& k_TKE, const Tensor& v_TKE, const DocumentLayout& layout,
                                    const AttentionOptions& options) {
  const int64_t tokens = q_THE.size(0);
  const Tensor document_T = at::empty({tokens}, at::kLong);
  for (size_t d = 0; d + 1 < layout.host_offsets.size(); ++d) {
    document_T.slice(0, layout.host_offsets[d], layout.host_offsets[d + 1]).fill_(static_cast<int64_t>(d));
  }
  const Tensor other_TT = document_T.unsqueeze(1).ne(document_T.unsqueeze(0)).to(q_THE.device());
  return plain_attention(q_THE, k_TKE, v_TKE, other_TT.logical_or(hidden_keys(0, tokens, tokens, options, q_THE.device())), options);
}

Tensor cached_attention(const Tensor& q_THE, const Tensor& k_SKE, const Tensor& v_SKE, const DocumentLayout& queries, const KeyLayout& keys,
                        const AttentionOptions& options) {
  if (flash_applies(q_THE, options)) {
    return flash_attention(q_THE, k_SKE, v_SKE, queries, {keys.begins, keys.max_length, keys.lengths}, options);
  }
  return for_each_document(q_THE, k_SKE, v_SKE, queries, keys, [&](const Tensor& q_nHE, const Tensor& k_LKE, const Tensor& v_LKE) {
    return attend_to_keys(q_nHE, k_LKE, v_LKE, options);
  });
}

Tensor cached_attention_reference(const Tensor& q_THE, const Tensor& k_SKE, const Tensor& v_SKE, const DocumentLayout& queries,
                                  const KeyLayout& keys, const AttentionOptions& options) {
  return for_each_document(q_THE, k_SKE, v_SKE, queries, keys, [&](const Tensor& q_nHE, const Tensor& k_LKE, const Tensor& v_LKE) {
    return plain_attention(q_nHE, k_LKE, v_LKE,
                           hidden_keys(k_LKE.size(0) - q_nHE.size(0), q_nHE.size(0), k_LKE.size(0), options, q_nHE.device()), options);
  });
}

}  // namespace lora::ops
