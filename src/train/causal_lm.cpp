#include "lora/train/causal_lm.h"

#include <ATen/ATen.h>

#include <cmath>

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
  const Tensor& rows_S = pass.batch.supervised_S;
  return {model.hidden_of(rows_S, pass), pass.batch.labels_T.index_select(0, rows_S),
          pass.training() ? pass.row_keys_T.index_select(0, rows_S) : Tensor()};
}

/// The model's logits for a chunk of the supervised rows.
ops::LogitsOf logits_of(nn::Model& model, const SupervisedRows& rows, const nn::Pass& pass) {
  return [&model, &rows, &pass](const Tensor& hidden_CD, int64_t begin) {
    const Tensor keys_C = pass.training() ? rows.row_keys_S.slice(0, begin, begin + hidden_CD.size(0)) : Tensor();
    return model.logits(hidden_CD, nn::Pass{pass.batch, keys_C});
  };
}

}  // namespace

/// Whether logits are the product of hidden states and one matrix, and nothing more.
bool CausalLm::has_plain_head() const {
  return model().head().is_plain() && !model().logit_soft_cap();
}

int64_t CausalLm::training_loss_bytes(const BatchSize& size) const {
  if (model().gives_logits()) {  // in float32, their log-probabilities and gradient
    return 3 * size.supervised * model().vocab_size() * static_cast<int64_t>(sizeof(float));
  }
  const nn::Linear& head = model().head();
  const ops::LossSizes sizes{size.supervised, head.in_features(), model().vocab_size(), model().dtype()};
  return has_plain_head() ? ops::linear_cross_entropy_bytes(sizes, head.is_trained()) : ops::chunked_cross_entropy_bytes(sizes);
}

LossMemory CausalLm::loss_memory(const BatchSize& size) const {
  const ops::LossSizes evaluated{size.supervised, model().hidden_size(), model().vocab_size(), model().dtype()};
  // A model computes all tokens to the end if most of them are needed (Model::hidden_of).
  const int64_t needed = 4 * size.supervised > 3 * size.input ? size.input : size.supervised;
  return {needed, training_loss_bytes(size), ops::token_scores_bytes(evaluated)};
}

Tensor CausalLm::loss_sum(const nn::Pass& pass, int64_t) const {
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
  for_each_eval_batch([&](const nn::TokenBatch& tokens) {
    sum += token_scores(model(), tokens).loss_S.sum(at::kDouble).item<double>();
    result.num_supervised += tokens.num_supervised;
  });
  result.loss = sum / static_cast<double>(result.num_supervised);
  result.metrics = {{"eval_perplexity", std::exp(result.loss)}};
  return result;
}

ops::TokenScores token_scores(nn::Model& model, const nn::TokenBatch& batch) {
  const at::NoGradGuard no_grad;
  const nn::Pass pass = nn::evaluation_pass(batch);
  const SupervisedRows rows = supervised_rows(model, pass);
  if (model.gives_logits()) {
    return ops::token_scores(rows.hidden_SD, rows.labels_S);
  }
  return ops::chunked_token_scores(rows.hidden_SD, rows.labels_S, model.head().out_features(), logits_of(model, rows, pass));
}

}  // namespace lora::train
