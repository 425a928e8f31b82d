#include "lora/train/causal_lm.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "lora/base/interrupt.h"
#include "lora/base/text.h"
#include "lora/ops/linear_cross_entropy.h"
#include "train/profile_scope.h"

namespace lora::train {

namespace {

using at::Tensor;

/// On the CPU larger parts are hardly faster (matrix products have their full rate from some hundred rows on) and need more memory;
/// in the half types, whose products take less time, what is done once a part weighs more.
int64_t default_part_tokens(const nn::Model& model) {
  return !model.device().is_cpu() ? 0 : model.dtype() == at::kFloat ? 512 : 1024;
}

BatchSize size_of(const data::Dataset& dataset, const MicroBatch& batch) {
  BatchSize size;
  for (const int64_t index : batch) {
    size.supervised += dataset.examples[index].num_supervised();
    size.input += static_cast<int64_t>(dataset.examples[index].ids.size());
  }
  return size;
}

/// The hidden states that predict something, and what they predict. S supervised positions.
struct SupervisedRows {
  Tensor hidden_SD;
  Tensor labels_S;
  Tensor row_keys_S;  ///< undefined in evaluation
};

SupervisedRows supervised_rows(const nn::Model& model, const nn::Pass& pass) {
  const Tensor rows_S = (pass.batch.labels_T != nn::kIgnoreLabel).nonzero().squeeze(1);
  const Tensor hidden_TD = model.hidden(pass);
  return {hidden_TD.index_select(0, rows_S), pass.batch.labels_T.index_select(0, rows_S),
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

CausalLm::CausalLm(nn::Model& model, const data::Dataset& train, const data::Dataset* eval, CausalLmOptions options)
    : model_(model),
      train_(train),
      eval_(eval),
      options_(options),
      prefetches_(options.prefetch.value_or(model.device().is_cuda())),
      part_tokens_(options.part_tokens.value_or(default_part_tokens(model))),
      train_ahead_(std::make_unique<data::BatchPrefetcher>(train, model.device(), prefetches_)) {}

std::vector<MicroBatch> CausalLm::plan_epoch(int64_t epoch) const {
  return data::plan_epoch(train_, options_.train_batches, epoch);
}

BatchSize CausalLm::size(const MicroBatch& batch) const {
  return size_of(train_, batch);
}

std::vector<MicroBatch> CausalLm::parts(const MicroBatch& batch) const {
  if (part_tokens_ == 0) {
    return {batch};
  }
  std::vector<MicroBatch> documents;
  for (const int64_t index : batch) {
    documents.push_back({index});
  }
  return data::join_by_tokens(train_, documents, part_tokens_);
}

nn::TokenBatch CausalLm::take(const MicroBatch& batch) const {
  const ProfileScope scope(kDataScope);
  return train_ahead_->take(batch);
}

/// Whether logits are hidden states by one matrix and nothing more.
bool CausalLm::has_plain_head() const {
  return model_.head().is_plain() && !model_.logit_soft_cap();
}

int64_t CausalLm::training_bytes(const std::vector<BatchSize>& parts, nn::Recompute recompute) const {
  const nn::PassMemory memory = model_.pass_memory(recompute);
  const bool is_plain = has_plain_head(), trains_head = model_.head().is_trained();
  int64_t most = 0;
  for (const BatchSize& part : parts) {
    const ops::LossSizes sizes{part.supervised, model_.head().in_features(), model_.vocab_size(), model_.dtype()};
    const int64_t loss = is_plain ? ops::linear_cross_entropy_bytes(sizes, trains_head) : ops::chunked_cross_entropy_bytes(sizes);
    most = std::max(most, memory.kept * part.input + std::max(loss, memory.working * part.input));
  }
  return most;
}

int64_t CausalLm::evaluation_bytes() const {
  if (eval_ == nullptr) {
    return 0;
  }
  const nn::PassMemory memory = model_.pass_memory(nn::Recompute::kNothing);
  int64_t most = 0;
  for (const MicroBatch& batch : data::plan_epoch(*eval_, options_.eval_batches, 0)) {
    const BatchSize size = size_of(*eval_, batch);
    const ops::LossSizes sizes{size.supervised, model_.head().in_features(), model_.vocab_size(), model_.dtype()};
    most = std::max(most, std::max(memory.forward * size.input, ops::token_scores_bytes(sizes)));
  }
  return most;
}

Tensor CausalLm::loss_sum(const MicroBatch& batch, int64_t step) const {
  const nn::TokenBatch tokens = take(batch);
  nn::Pass pass = nn::training_pass(tokens, options_.seed, step);
  pass.recompute = recompute_;
  const SupervisedRows rows = supervised_rows(model_, pass);
  const ProfileScope scope(kLossScope);
  const nn::Linear& head = model_.head();
  if (has_plain_head()) {
    return ops::linear_cross_entropy(rows.hidden_SD, head.weight_in_use(), head.bias_in_use(), rows.labels_S);
  }
  return ops::chunked_cross_entropy(rows.hidden_SD, rows.labels_S, head.out_features(), head.trained(), logits_of(model_, rows, pass));
}

std::string CausalLm::describe(const MicroBatch& batch) const {
  std::vector<std::string> origins;
  for (const int64_t index : batch) {
    origins.push_back(train_.examples[index].origin.text());
  }
  return join(origins, ", ", 4);
}

EvalResult CausalLm::evaluate() const {
  EvalResult result;
  double sum = 0;
  const std::vector<std::vector<int64_t>> batches = data::plan_epoch(*eval_, options_.eval_batches, 0);
  data::BatchPrefetcher ahead(*eval_, model_.device(), prefetches_);
  ahead.expect(batches);
  for (const std::vector<int64_t>& indices : batches) {
    check_interrupt();
    const nn::TokenBatch tokens = ahead.take(indices);
    sum += token_scores(model_, tokens).loss_S.sum(at::kDouble).item<double>();
    result.num_supervised += tokens.num_supervised;
  }
  result.loss = sum / static_cast<double>(result.num_supervised);
  return result;
}

ops::TokenScores token_scores(nn::Model& model, const nn::TokenBatch& batch) {
  const at::NoGradGuard no_grad;
  const nn::Pass pass = nn::evaluation_pass(batch);
  const SupervisedRows rows = supervised_rows(model, pass);
  return ops::chunked_token_scores(rows.hidden_SD, rows.labels_S, model.head().out_features(), logits_of(model, rows, pass));
}

}  // namespace lora::train
