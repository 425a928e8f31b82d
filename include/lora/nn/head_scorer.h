#pragma once
#include <memory>
#include <optional>

#include "lora/nn/token_scorer.h"

namespace lora::nn {

/// Scores tokens by a projection of their hidden states.
class HeadScorer : public TokenScorer {
 public:
  /// @param soft_cap logits become cap · tanh(logits / cap); none: they stay as they are.
  /// @param divisor of the logits, before the cap.
  explicit HeadScorer(std::unique_ptr<Linear> head, std::optional<double> soft_cap = std::nullopt, double divisor = 1.0)
      : head_(std::move(head)), soft_cap_(soft_cap), divisor_(divisor) {}

  Tensor logits(const Tensor& hidden_SD, const Pass& pass) const override;
  Tensor loss_sum(const Tensor& hidden_SD, const Tensor& labels_S, const Pass& pass) const override;
  Tensor token_losses(const Tensor& hidden_SD, const Tensor& labels_S, const Pass& pass) const override;
  ops::TokenScores scores(const Tensor& hidden_SD, const Tensor& labels_S, const Pass& pass) const override;
  int64_t loss_bytes(int64_t num_tokens) const override;
  int64_t scores_bytes(int64_t num_tokens) const override;
  Linear* head() const override { return head_.get(); }
  std::vector<Host*> hosts() const override { return {head_.get()}; }
  void observe(const Tensor& hidden_SD, InputObserver& observer) const override { observer.see(*head_, hidden_SD); }

 private:
  /// Whether logits are the product of hidden states and one tensor, and nothing more.
  bool is_plain() const { return head_->is_plain() && head_->matrix_in_use()->tensor().defined() && !soft_cap_ && divisor_ == 1.0; }
  ops::LossSizes sizes(int64_t num_tokens) const;

  std::unique_ptr<Linear> head_;
  std::optional<double> soft_cap_;
  double divisor_;
};

}  // namespace lora::nn
