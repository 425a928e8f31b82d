#include "lora/train/causal_lm.h"

#include <ATen/ATen.h>

#include <cmath>

#include "lora/base/error.h"
#include "train/gradients.h"
#include "train/profile_scope.h"

namespace lora::train {

namespace {

using at::Tensor;

/// The hidden states at supervised positions and their labels. S supervised positions.
struct SupervisedRows {
  Tensor hidden_SD;
  Tensor labels_S;
  Tensor row_keys_S;  ///< undefined in evaluation
};

SupervisedRows supervised_rows(const nn::Model& model, const nn::Pass& pass) {
  const nn::TokenLabels& labels = pass.batch().labels();
  const Tensor& rows_S = labels.supervised_S;
  return {model.hidden_of(rows_S, pass), labels.labels_T.index_select(0, rows_S),
          pass.training() ? pass.row_keys_T.index_select(0, rows_S) : Tensor()};
}

/// The model's logits for a chunk of the supervised rows.
ops::LogitsOf logits_of(nn::Model& model, const SupervisedRows& rows, const nn::Pass& pass) {
  return [&model, &rows, &pass](const Tensor& hidden_CD, int64_t begin) {
    const Tensor keys_C = pass.training() ? rows.row_keys_S.slice(0, begin, begin + hidden_CD.size(0)) : Tensor();
    return model.logits(hidden_CD, pass.of_rows(keys_C));
  };
}

}  // namespace

/// Whether logits are the product of hidden states and one matrix, and nothing more.
bool CausalLm::has_plain_head() const {
  return model().head().is_plain() && !model().logit_soft_cap();
}

int64_t CausalLm::loss_bytes(const BatchSize& size) const {
  if (model().gives_logits()) {  // in float32, their log-probabilities and gradient
    return 3 * size.supervised * model().vocab_size() * static_cast<int64_t>(sizeof(float));
  }
  const nn::Linear& head = model().head();
  const ops::LossSizes sizes{size.supervised, head.in_features(), model().vocab_size(), model().dtype()};
  return has_plain_head() ? ops::linear_cross_entropy_bytes(sizes, head.is_trained()) : ops::chunked_cross_entropy_bytes(sizes);
}

int64_t CausalLm::evaluation_loss_bytes(const BatchSize& size) const {
  return ops::token_scores_bytes({size.supervised, model().hidden_size(), model().vocab_size(), model().dtype()});
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
  if (model().gives_logits()) {
    return at::cross_entropy_loss(rows.hidden_SD.to(at::kFloat), rows.labels_S, {}, at::Reduction::Sum);
  }
  const nn::Linear& head = model().head();
  if (has_plain_head()) {
    return ops::linear_cross_entropy(rows.hidden_SD, head.weight_in_use(), head.bias_in_use(), rows.labels_S);
  }
  return ops::chunked_cross_entropy(rows.hidden_SD, rows.labels_S, head.out_features(), head.trained(), logits_of(model(), rows, pass));
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
  const nn::Pass pass = nn::evaluation_pass(batch);
  const SupervisedRows rows = supervised_rows(model, pass);
  if (model.gives_logits()) {
    return ops::token_scores(rows.hidden_SD, rows.labels_S);
  }
  return ops::chunked_token_scores(rows.hidden_SD, rows.labels_S, model.head().out_features(), logits_of(model, rows, pass));
}

}  // namespace lora::train
