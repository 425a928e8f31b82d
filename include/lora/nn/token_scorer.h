#pragma once
#include <cstdint>
#include <vector>

#include "lora/nn/linear.h"
#include "lora/ops/linear_cross_entropy.h"

namespace lora::nn {

/// What scores tokens, on top of a body: each token of the vocabulary as the next one. S tokens, D channels, V vocabulary. Arguments
/// `hidden_SD` are what the body gives for these tokens, and `pass` is one over them: its random numbers are theirs.
class TokenScorer {
 public:
  virtual ~TokenScorer() = default;

  /// [S, V].
  virtual Tensor logits(const Tensor& hidden_SD, const Pass& pass) const = 0;
  /// The sum of the tokens' cross-entropies, a float32 scalar, differentiable. Logits are computed chunk by chunk.
  virtual Tensor loss_sum(const Tensor& hidden_SD, const Tensor& labels_S, const Pass& pass) const = 0;
  /// The cross-entropy of each token, float32 [S], differentiable.
  virtual Tensor token_losses(const Tensor& hidden_SD, const Tensor& labels_S, const Pass& pass) const = 0;
  /// The loss of each token, and whether its label has the largest logit; without gradients.
  virtual ops::TokenScores scores(const Tensor& hidden_SD, const Tensor& labels_S, const Pass& pass) const = 0;

  /// Bytes that loss_sum() or token_losses() with its backward needs for `num_tokens` tokens, and those that scores() needs.
  virtual int64_t loss_bytes(int64_t num_tokens) const = 0;
  virtual int64_t scores_bytes(int64_t num_tokens) const = 0;

  /// The projection to the vocabulary; null: it is not known.
  virtual Linear* head() const = 0;
  /// Modules that adapters can be attached to, in addition to the body's.
  virtual std::vector<Host*> hosts() const = 0;
  /// Shows an observer the inputs of these modules, as a pass shows it those of the body's.
  virtual void observe(const Tensor& hidden_SD, InputObserver& observer) const = 0;
};

}  // namespace lora::nn
