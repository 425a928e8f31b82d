#pragma once
#include "lora/ops/attention.h"

namespace lora::ops {

/// document_attention with a window or a soft cap, on any device and in any dtype: blocks of queries of one document, each with the
/// keys that it may see. Keeps q, k, v, the output and one number per row; backward is written explicitly (Dao 2023, section 3.1) and
/// recomputes the scores.
Tensor block_attention(const Tensor& q_THE, const Tensor& k_TKE, const Tensor& v_TKE, const std::vector<int64_t>& offsets,
                       const AttentionOptions& options);

/// Scores before the mask: scaled and soft-capped as the options state.
Tensor capped_scores(const Tensor& products, const AttentionOptions& options);

/// Which of `length` keys are hidden from the `tokens` queries that start at position `first`, [tokens, length]: later ones, if
/// attention is causal, and those outside the window.
Tensor hidden_keys(int64_t first, int64_t tokens, int64_t length, const AttentionOptions& options, at::Device device);

}  // namespace lora::ops
