#include "lora/train/causal_lm.h"

#include <ATen/ATen.h>

#include <cmath>

#include "lora/nn/layer_memory.h"
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

SupervisedRows supervised_rows(const nn::Model& model, const nn::Pass& given) {
  const nn::Pass pass = given.with_virtual_tokens(model.body->virtual_tokens());
  const nn::TokenLabels& labels = pass.batch().labels();
  const Tensor& rows_S = labels.supervised_S;
  return {model.body->hidden_of(rows_S, pass), labels.labels_T.index_select(0, rows_S),
          pass.of_rows(pass.training() ? pass.row_keys_T.index_select(0, rows_S) : Tensor())};
}

/// The labels that a pass over the batch predicts, virtual tokens before its documents included.
int64_t num_supervised(const nn::Model& model, const nn::Batch& batch) {
  return batch.num_supervised() + (model.body->virtual_tokens() > 0 ? batch.labels().first_labels_F.numel() : 0);
}

}  // namespace

LossMemory CausalLm::loss_memory(const BatchSize& size) const {
  const int64_t needed = nn::computes_all(size.supervised, size.input) ? size.input : size.supervised;
  return {needed, model().tokens->loss_bytes(size.supervised), model().tokens->scores_bytes(size.supervised)};
}

Tensor CausalLm::loss_sum(const nn::Pass& pass, int64_t) const {
  const SupervisedRows rows = supervised_rows(model(), pass);
  const ProfileScope scope(kLossScope);
  return model().tokens->loss_sum(rows.hidden_SD, rows.labels_S, rows.pass);
}

EvalResult CausalLm::evaluate() const {
  EvalResult result;
  double sum = 0;
  for_each_eval_batch([&](const nn::Batch& tokens) {
    sum += token_scores(model(), tokens).loss_S.sum(at::kDouble).item<double>();
    result.num_supervised += num_supervised(model(), tokens);
  });
  result.loss = sum / static_cast<double>(result.num_supervised);
  result.metrics = {{"eval_perplexity", std::exp(result.loss)}};
  return result;
}

Tensor document_losses(const nn::Model& model, const nn::Pass& pass) {
  const SupervisedRows rows = supervised_rows(model, pass);
  const ProfileScope scope(kLossScope);
  const Tensor loss_S = model.tokens->token_losses(rows.hidden_SD, rows.labels_S, rows.pass);
  const Tensor ends_D = rows.pass.layout().offsets.slice(0, 1).to(at::kLong);
  const Tensor document_S = at::bucketize(rows.pass.batch().labels().supervised_S, ends_D, /*out_int32=*/false, /*right=*/true);
  return at::zeros({ends_D.size(0)}, loss_S.options()).index_add(0, document_S, loss_S);
}

ops::TokenScores token_scores(nn::Model& model, const nn::Batch& batch) {
  const at::NoGradGuard no_grad;
  const SupervisedRows rows = supervised_rows(model, nn::evaluation_pass(batch));
  return model.tokens->scores(rows.hidden_SD, rows.labels_S, rows.pass);
}

}  // namespace lora::train
