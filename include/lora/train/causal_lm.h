#pragma once
#include "lora/ops/linear_cross_entropy.h"
#include "lora/train/document_objective.h"

namespace lora::train {

/// Next-token prediction: cross-entropy of each supervised token given the earlier ones of its document. Logits are only computed at
/// supervised positions, chunk by chunk.
class CausalLm : public DocumentObjective {
 public:
  using DocumentObjective::DocumentObjective;

  at::Tensor loss_sum(const nn::Pass& pass, int64_t step) const override;
  LossMemory loss_memory(const BatchSize& size) const override;
  std::vector<std::string> metric_names() const override { return {"eval_loss", "eval_perplexity"}; }
  EvalResult evaluate() const override;
};

/// The loss of each document of a pass, float32 [D], differentiable: minus the logarithm of the probability of its supervised tokens, given
/// those before them.
at::Tensor document_losses(const nn::Model& model, const nn::Pass& pass);

/// The scores of the supervised positions of a batch, in order, without gradients or dropout.
ops::TokenScores token_scores(nn::Model& model, const nn::Batch& batch);

}  // namespace lora::train
