#include "lora/train/module_loss.h"

#include <ATen/ATen.h>

namespace lora::train {

ModuleLoss::ModuleLoss(nn::Model& model, const data::Dataset& train, const data::Dataset* eval, const DocumentObjectiveOptions& options)
    : DocumentObjective(model, train, eval, options), network_(*model.row_model()) {}

/// What the loss of these documents is a mean over.
int64_t ModuleLoss::count(const nn::TokenBatch& tokens) const {
  return nn::loss_count(network_.loss_mean(), tokens);
}

BatchSize ModuleLoss::size(const MicroBatch& batch) const {
  BatchSize size = DocumentObjective::size(batch);
  if (network_.loss_mean() == nn::LossMean::kRows) {
    size.supervised = static_cast<int64_t>(batch.size());
  }
  return size;
}

at::Tensor ModuleLoss::loss_sum(const MicroBatch& batch, int64_t step) const {
  const nn::TokenBatch tokens = take(batch);
  return network_.loss(training_pass(tokens, step)) * count(tokens);
}

int64_t ModuleLoss::loss_bytes(const BatchSize&) const {
  return 0;  // it is within the module, among what its passes take
}

int64_t ModuleLoss::evaluation_loss_bytes(const BatchSize&) const {
  return 0;
}

EvalResult ModuleLoss::evaluate() const {
  EvalResult result;
  result.supervised_name = network_.loss_mean() == nn::LossMean::kTokens ? "eval_num_tokens" : "eval_num_examples";
  for_each_eval_batch([&](const nn::TokenBatch& tokens) {
    const at::NoGradGuard no_grad;
    result.loss += network_.loss(nn::evaluation_pass(tokens)).item<double>() * static_cast<double>(count(tokens));
    result.num_supervised += count(tokens);
  });
  result.loss /= static_cast<double>(result.num_supervised);
  return result;
}

}  // namespace lora::train
