#include "lora/nn/given_scores.h"

#include <ATen/ATen.h>

namespace lora::nn {

Tensor GivenLogits::loss_sum(const Tensor& logits_SV, const Tensor& labels_S, const Pass&) const {
  return at::cross_entropy_loss(logits_SV.to(at::kFloat), labels_S, {}, at::Reduction::Sum);
}

Tensor GivenLogits::token_losses(const Tensor& logits_SV, const Tensor& labels_S, const Pass&) const {
  return at::cross_entropy_loss(logits_SV.to(at::kFloat), labels_S, {}, at::Reduction::None);
}

ops::TokenScores GivenLogits::scores(const Tensor& logits_SV, const Tensor& labels_S, const Pass&) const {
  return ops::token_scores(logits_SV, labels_S);
}

/// The logits in float32, their log-probabilities and their gradient.
int64_t GivenLogits::loss_bytes(int64_t num_tokens) const {
  return 3 * num_tokens * vocab_size_ * static_cast<int64_t>(sizeof(float));
}

int64_t GivenLogits::scores_bytes(int64_t num_tokens) const {
  return ops::token_scores_bytes({num_tokens, vocab_size_, vocab_size_, dtype_});
}

}  // namespace lora::nn
