#include "lora/train/module_loss.h"

#include <ATen/ATen.h>

#include <functional>

#include "lora/base/error.h"

namespace lora::train {

namespace {

/// The network's loss. If it fails, for example on a class that it does not have, the error names the rows.
at::Tensor row_loss(const nn::RowModel& network, const nn::Pass& pass, const std::function<std::string()>& rows) {
  try {
    return network.loss(pass);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::kModel) {
      throw;
    }
    throw Error(error.kind(), std::string(error.what()) + " (given " + rows() + ")");
  }
}

}  // namespace

ModuleLoss::ModuleLoss(const ObjectiveParts& parts) : DocumentObjective(parts), network_(*parts.model.rows()) {}

/// The number of rows or tokens that the loss of these documents is a mean over.
int64_t ModuleLoss::count(const nn::Batch& tokens) const {
  return nn::loss_count(network_.loss_mean(), tokens);
}

BatchSize ModuleLoss::size(const MicroBatch& batch) const {
  BatchSize size = DocumentObjective::size(batch);
  if (network_.loss_mean() == nn::LossMean::kRows) {
    size.supervised = static_cast<int64_t>(batch.size());
  }
  return size;
}

at::Tensor ModuleLoss::loss_sum(const nn::Pass& pass, int64_t step) const {
  const auto rows = [&] { return describe(pass.layout().sample_ids) + " in step " + std::to_string(step + 1); };
  return row_loss(network_, pass, rows) * count(pass.batch());
}

EvalResult ModuleLoss::evaluate() const {
  EvalResult result;
  result.supervised_name = network_.loss_mean() == nn::LossMean::kTokens ? "eval_num_tokens" : "eval_num_examples";
  for_each_eval_batch([&](const nn::Batch& tokens) {
    const at::NoGradGuard no_grad;
    const auto rows = [&] { return origins_of(eval_set(), tokens.layout.sample_ids); };
    const at::Tensor loss = row_loss(network_, nn::evaluation_pass(tokens), rows);
    result.loss += loss.item<double>() * static_cast<double>(count(tokens));
    result.num_supervised += count(tokens);
  });
  result.loss /= static_cast<double>(result.num_supervised);
  return result;
}

}  // namespace lora::train
