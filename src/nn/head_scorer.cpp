// S tokens, C tokens of a chunk, D hidden size, V vocabulary.
#include "lora/nn/head_scorer.h"

#include <ATen/ATen.h>

namespace lora::nn {

namespace {

/// The logits of chunks of the tokens. The scorer must outlive it.
ops::LogitsOf logits_of_chunks(const HeadScorer& scorer, const Pass& pass) {
  return [&scorer, pass](const Tensor& hidden_CD, int64_t begin) {
    const Tensor keys_C = pass.training() ? pass.row_keys_T.slice(0, begin, begin + hidden_CD.size(0)) : Tensor();
    return scorer.logits(hidden_CD, pass.of_rows(keys_C));
  };
}

}  // namespace

Tensor HeadScorer::logits(const Tensor& hidden_SD, const Pass& pass) const {
  Tensor logits_SV = head_->forward(hidden_SD, pass);
  if (divisor_ != 1.0) {
    logits_SV = logits_SV / divisor_;
  }
  return soft_cap_ ? (logits_SV / *soft_cap_).tanh() * *soft_cap_ : logits_SV;
}

Tensor HeadScorer::loss_sum(const Tensor& hidden_SD, const Tensor& labels_S, const Pass& pass) const {
  if (is_plain()) {
    return ops::linear_cross_entropy(hidden_SD, head_->weight_in_use(), head_->bias_in_use(), labels_S);
  }
  return ops::chunked_cross_entropy(hidden_SD, labels_S, head_->out_features(), head_->trained(), logits_of_chunks(*this, pass));
}

Tensor HeadScorer::token_losses(const Tensor& hidden_SD, const Tensor& labels_S, const Pass& pass) const {
  if (is_plain()) {
    return ops::linear_token_losses(hidden_SD, head_->weight_in_use(), head_->bias_in_use(), labels_S);
  }
  return ops::chunked_token_losses(hidden_SD, labels_S, head_->out_features(), head_->trained(), logits_of_chunks(*this, pass));
}

ops::TokenScores HeadScorer::scores(const Tensor& hidden_SD, const Tensor& labels_S, const Pass& pass) const {
  return ops::chunked_token_scores(hidden_SD, labels_S, head_->out_features(), logits_of_chunks(*this, pass));
}

ops::LossSizes HeadScorer::sizes(int64_t num_tokens) const {
  return {num_tokens, head_->in_features(), head_->out_features(), head_->matrix()->dtype()};
}

int64_t HeadScorer::loss_bytes(int64_t num_tokens) const {
  return is_plain() ? ops::linear_cross_entropy_bytes(sizes(num_tokens), head_->is_trained())
                    : ops::chunked_cross_entropy_bytes(sizes(num_tokens));
}

int64_t HeadScorer::scores_bytes(int64_t num_tokens) const {
  return ops::token_scores_bytes(sizes(num_tokens));
}

}  // namespace lora::nn
