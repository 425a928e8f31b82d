#pragma once
#include "lora/ops/attention.h"

namespace lora::ops {

/// document_attention with a window or a soft cap, on any device and in any dtype: blocks of queries of one document, each
/// with the keys that it may see. Keeps q, k, v, the output and a number a row; backward is written by hand (Dao 2023,
/// section 3.1) and computes the scores anew.
Tensor block_attention(const Tensor& q_THE, const Tensor& k_TKE, const Tensor& v_TKE, const std::vector<int64_t>& offsets,
                       const AttentionOptions& options);

/// Scores as the options leave them before the mask: scale and soft cap.
Tensor capped_scores(const Tensor& products, const AttentionOptions& options);

/// Which of `length` keys the `tokens` from number `first` on do not see, [tokens, length]: later ones, unless attention goes both
/// ways, and those out of the window.
Tensor hidden_keys(int64_t first, int64_t tokens, int64_t length, const AttentionOptions& options, at::Device device);

}  // namespace lora::ops
