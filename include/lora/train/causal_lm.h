#pragma once
#include "lora/ops/linear_cross_entropy.h"
#include "lora/train/document_objective.h"
#include "lora/train/step_graph.h"

namespace lora::train {

/// Next-token prediction: cross-entropy of each supervised token given the earlier ones of its document. Logits are only computed at
/// supervised positions, chunk by chunk.
class CausalLm : public DocumentObjective {
 public:
  using DocumentObjective::DocumentObjective;

  at::Tensor loss_sum(const MicroBatch& batch, int64_t step) const override;
  at::Tensor add_gradients(const MicroBatch& batch, int64_t step, double scale) override;
  void use_graphs(const std::vector<nn::Parameter>& trained, std::unique_ptr<nn::DeviceGraph> graph) override;
  std::vector<std::string> metric_names() const override { return {"eval_loss", "eval_perplexity"}; }
  EvalResult evaluate() const override;

 protected:
  int64_t loss_bytes(const BatchSize& size) const override;
  int64_t evaluation_loss_bytes(const BatchSize& size) const override;
  int64_t num_needed(const BatchSize& size) const override;

 private:
  at::Tensor loss_of(const nn::Pass& pass) const;

  std::unique_ptr<StepGraph> graph_;  ///< null: passes are not recorded
};

/// The scores of the supervised positions of a batch, in order, without gradients or dropout.
ops::TokenScores token_scores(nn::Model& model, const nn::Batch& batch);

}  // namespace lora::train
