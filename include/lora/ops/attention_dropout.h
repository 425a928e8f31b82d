#pragma once
#include "lora/ops/attention.h"
#include "lora/ops/dropout.h"

namespace lora::ops {

/// document_attention with dropout of the probabilities, as BERT and GPT-2 are trained: document by document by the plain formula,
/// whose probabilities [H, L, L] are kept for backward. An element's random number is a function of (key of the query's token, head,
/// position of the key in its document).
Tensor document_attention_with_dropout(const Tensor& q_THE, const Tensor& k_TKE, const Tensor& v_TKE, const DocumentLayout& layout,
                                       const AttentionOptions& options, const DropoutDraw& draw);

}  // namespace lora::ops
