#include "lora/train/causal_lm.h"

#include <ATen/ATen.h>

#include <cmath>

#include "lora/base/error.h"
#include "lora/nn/layer_memory.h"
#include "train/gradients.h"
#include "train/profile_scope.h"

namespace lora::train {

namespace {

using at::Tensor;

/// What the body gives at supervised positions, their labels, and a pass over them. S supervised positions.
struct SupervisedRows {
  Tensor hidden_SD;
  Tensor labels_S;
  nn::Pass pass;
};

SupervisedRows supervised_rows(const nn::Model& model, const nn::Pass& pass) {
  const nn::TokenLabels& labels = pass.batch().labels();
  const Tensor& rows_S = labels.supervised_S;
  return {model.body->hidden_of(rows_S, pass), labels.labels_T.index_select(0, rows_S),
          pass.of_rows(pass.training() ? pass.row_keys_T.index_select(0, rows_S) : Tensor())};
}

}  // namespace

int64_t CausalLm::loss_bytes(const BatchSize& size) const {
  return model().tokens->loss_bytes(size.supervised);
}

int64_t CausalLm::evaluation_loss_bytes(const BatchSize& size) const {
  return model().tokens->scores_bytes(size.supervised);
}

int64_t CausalLm::num_needed(const BatchSize& size) const {
  return nn::computes_all(size.supervised, size.input) ? size.input : size.supervised;
}

Tensor CausalLm::loss_sum(const MicroBatch& batch, int64_t step) const {
  const nn::Batch tokens = take(batch);
  return loss_of(training_pass(tokens, step));
}

void CausalLm::use_graphs(const std::vector<nn::Parameter>& trained, std::unique_ptr<nn::DeviceGraph> graph) {
  for (const nn::Host* host : model().hosts()) {
    if (host->has_data_dependent_sizes()) {
      config_error("training.cuda_graphs", "found true, but sizes of tensors in \"" + host->name() +
                                               "\" depend on the values in a batch (such as the number of tokens per expert), so that "
                                               "passes cannot be recorded. Use false.");
    }
  }
  nn::BatchRoom room;
  for (const MicroBatch& batch : plan_epoch(0)) {
    for (const MicroBatch& part : parts(batch)) {
      room.add(room_for(part));
    }
  }
  graph_ = std::make_unique<StepGraph>(std::move(graph), room, trained, [this](const nn::Pass& pass) { return loss_of(pass); });
}

Tensor CausalLm::add_gradients(const MicroBatch& batch, int64_t step, double scale) {
  if (graph_ == nullptr) {
    return Objective::add_gradients(batch, step, scale);
  }
  const nn::Batch tokens = take(batch);
  // A batch with less than half of the tokens, such as an epoch's last or one halved for memory, is faster without padding.
  if (!graph_->room().holds(nn::room_of(tokens)) || 2 * tokens.num_tokens() < graph_->room().tokens) {
    return add_gradients_of(loss_of(training_pass(tokens, step)), scale);
  }
  const nn::Batch whole = nn::padded(tokens, graph_->room());
  try {
    return graph_->add_gradients(training_pass(whole, step), scale);
  } catch (const c10::OutOfMemoryError&) {
    graph_.reset();  // the halves of a batch need less memory without padding
    throw;
  }
}

Tensor CausalLm::loss_of(const nn::Pass& pass) const {
  const SupervisedRows rows = supervised_rows(model(), pass);
  const ProfileScope scope(kLossScope);
  return model().tokens->loss_sum(rows.hidden_SD, rows.labels_S, rows.pass);
}

EvalResult CausalLm::evaluate() const {
  EvalResult result;
  double sum = 0;
  for_each_eval_batch([&](const nn::Batch& tokens) {
    sum += token_scores(model(), tokens).loss_S.sum(at::kDouble).item<double>();
    result.num_supervised += tokens.num_supervised();
  });
  result.loss = sum / static_cast<double>(result.num_supervised);
  result.metrics = {{"eval_perplexity", std::exp(result.loss)}};
  return result;
}

ops::TokenScores token_scores(nn::Model& model, const nn::Batch& batch) {
  const at::NoGradGuard no_grad;
  const SupervisedRows rows = supervised_rows(model, nn::evaluation_pass(batch));
  return model.tokens->scores(rows.hidden_SD, rows.labels_S, rows.pass);
}

}  // namespace lora::train
