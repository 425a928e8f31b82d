// N documents, C labels.
#include "lora/train/sequence_classification.h"

#include <ATen/ATen.h>

#include <cmath>
#include <limits>

#include "train/label_metrics.h"
#include "train/profile_scope.h"

namespace lora::train {

namespace {

using at::Tensor;

/// The documents that have a target.
std::vector<int64_t> labelled(const std::vector<std::optional<double>>& targets) {
  std::vector<int64_t> indices;
  for (size_t i = 0; i < targets.size(); ++i) {
    if (targets[i]) {
      indices.push_back(static_cast<int64_t>(i));
    }
  }
  return indices;
}

Tensor document_logits(const nn::Model& model, const nn::Pass& given) {
  const nn::Pass pass = given.with_virtual_tokens(model.body->virtual_tokens());
  return model.documents->scores(*model.body, pass);
}

/// In float32 whatever the model computes in.
Tensor document_loss(const Tensor& logits_NC, const Tensor& targets_N, bool is_regression) {
  const Tensor wide_NC = logits_NC.to(at::kFloat);
  return is_regression ? at::mse_loss(wide_NC.squeeze(1), targets_N, at::Reduction::Sum)
                       : at::cross_entropy_loss(wide_NC, targets_N, {}, at::Reduction::Sum);
}

/// The values, or the classes with the highest score, in float64; NaN if a score is NaN.
Tensor predicted_of(const Tensor& logits_NC, bool is_regression) {
  if (is_regression) {
    return logits_NC.squeeze(1).to(at::kCPU, at::kDouble).contiguous();
  }
  const Tensor classes_N = logits_NC.argmax(1).to(at::kDouble);
  return classes_N.masked_fill(logits_NC.isnan().any(1), std::numeric_limits<double>::quiet_NaN()).cpu();
}

}  // namespace

Tensor SequenceClassification::loss_sum(const nn::Pass& pass, int64_t) const {
  const Tensor logits_NC = document_logits(model(), pass);
  const ProfileScope scope(kLossScope);
  return document_loss(logits_NC, pass.batch().document_targets().values, is_regression_);
}

LossMemory SequenceClassification::loss_memory(const BatchSize& size) const {
  // A document's row before, within and after the head, in float32 if the head is trained, with gradients.
  const int64_t bytes = 3 * size.supervised * model().body->hidden_size() * static_cast<int64_t>(sizeof(float));
  return {size.input, 2 * bytes, bytes};
}

std::vector<std::string> SequenceClassification::metric_names() const {
  std::vector<std::string> names{"eval_loss"};
  for (const auto& [name, value] : is_regression_ ? value_metrics({0}, {0}) : class_metrics({0}, {0}, 2)) {
    names.push_back(name);
  }
  return names;
}

EvalResult SequenceClassification::evaluate() const {
  LabelTally tally(is_regression_);
  for_each_eval_batch([&](const nn::Batch& tokens) { tally.add(row_outputs(model(), tokens), targets_of(eval_set(), tokens)); });
  return tally.result();
}

Tensor row_outputs(const nn::Model& model, const nn::Batch& tokens) {
  const at::NoGradGuard no_grad;
  return document_logits(model, nn::evaluation_pass(tokens));
}

void LabelTally::add(const Tensor& outputs_NC, const std::vector<std::optional<double>>& all_targets) {
  const at::NoGradGuard no_grad;
  const std::vector<int64_t> rows = labelled(all_targets);
  num_labels_ = outputs_NC.size(1);
  if (rows.empty()) {
    return;
  }
  const bool is_whole = rows.size() == all_targets.size();
  const Tensor logits_NC = is_whole ? outputs_NC : outputs_NC.index_select(0, at::tensor(rows, at::kLong).to(outputs_NC.device()));
  std::vector<double> targets;
  for (const int64_t row : rows) {
    targets.push_back(*all_targets[static_cast<size_t>(row)]);
  }
  const Tensor targets_N = at::tensor(targets, at::kDouble).to(is_regression_ ? at::kFloat : at::kLong).to(logits_NC.device());
  loss_ += document_loss(logits_NC, targets_N, is_regression_).item<double>();
  const Tensor predicted_N = predicted_of(logits_NC, is_regression_);
  const double* predicted = predicted_N.const_data_ptr<double>();
  predicted_.insert(predicted_.end(), predicted, predicted + predicted_N.numel());
  targets_.insert(targets_.end(), targets.begin(), targets.end());
}

EvalResult LabelTally::result() const {
  EvalResult result;
  result.num_supervised = static_cast<int64_t>(targets_.size());
  result.supervised_name = "eval_num_examples";
  result.loss = loss_ / static_cast<double>(targets_.size());
  result.metrics = is_regression_ ? value_metrics(predicted_, targets_) : class_metrics(predicted_, targets_, num_labels_);
  return result;
}

std::vector<std::optional<double>> targets_of(const data::Dataset& dataset, const nn::Batch& tokens) {
  std::vector<std::optional<double>> targets;
  for (const int64_t index : tokens.layout.sample_ids) {
    targets.push_back(dataset.examples.at(static_cast<size_t>(index)).target());
  }
  return targets;
}

}  // namespace lora::train
