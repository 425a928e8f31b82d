#pragma once
#include "lora/nn/document_scorer.h"
#include "lora/nn/token_scorer.h"

namespace lora::nn {

/// Scores tokens by the logits that a body gives itself (TorchScript): the scorer has nothing to compute.
class GivenLogits : public TokenScorer {
 public:
  /// @param head a host of the body; null: it is not known.
  GivenLogits(int64_t vocab_size, at::ScalarType dtype, Linear* head) : vocab_size_(vocab_size), dtype_(dtype), head_(head) {}

  Tensor logits(const Tensor& logits_SV, const Pass&) const override { return logits_SV; }
  Tensor loss_sum(const Tensor& logits_SV, const Tensor& labels_S, const Pass& pass) const override;
  Tensor token_losses(const Tensor& logits_SV, const Tensor& labels_S, const Pass& pass) const override;
  ops::TokenScores scores(const Tensor& logits_SV, const Tensor& labels_S, const Pass& pass) const override;
  int64_t loss_bytes(int64_t num_tokens) const override;
  int64_t scores_bytes(int64_t num_tokens) const override;
  Linear* head() const override { return head_; }
  std::vector<Host*> hosts() const override { return {}; }
  void observe(const Tensor&, InputObserver&) const override {}

 private:
  int64_t vocab_size_;
  at::ScalarType dtype_;
  Linear* head_;
};

/// Scores documents by the rows that a body gives for them.
class GivenScores : public DocumentScorer {
 public:
  Tensor scores(const Body& body, const Pass& pass) const override { return body.hidden(pass); }
  std::vector<Host*> hosts() override { return {}; }
};

}  // namespace lora::nn
