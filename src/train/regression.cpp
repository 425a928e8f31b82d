// N rows, K values per row.
#include "lora/train/regression.h"

#include <ATen/ATen.h>

#include "lora/base/error.h"
#include "lora/nn/row_model.h"
#include "train/label_metrics.h"
#include "train/profile_scope.h"

namespace lora::train {

namespace {

using at::Tensor;

/// [N, K], also for one value per row.
Tensor targets_of(const nn::Batch& tokens) {
  const Tensor& targets = tokens.document_targets().values;
  return targets.dim() == 1 ? targets.unsqueeze(1) : targets;
}

/// For each row the mean over its values; in float32 whatever the network computes in.
Tensor squared_error(const Tensor& predicted_NK, const Tensor& targets_NK) {
  return at::mse_loss(predicted_NK.to(at::kFloat), targets_NK, at::Reduction::Sum) / targets_NK.size(1);
}

void require_width(const nn::RowModel& network, const data::Dataset& dataset) {
  const data::Example& first = dataset.examples.front();
  const auto values = static_cast<int64_t>(first.num_target_values());
  if (values != network.num_outputs()) {
    data_error(first.origin.text(), "the target does not match the module's predictions: found " + std::to_string(values) + " value" +
                                        (values > 1 ? "s" : "") + ", expected " + std::to_string(network.num_outputs()) +
                                        " per row");
  }
}

/// Appends the rows' values to the columns, for the metrics.
void append(const Tensor& values_NK, std::vector<std::vector<double>>& columns) {
  const Tensor wide_KN = values_NK.to(at::kCPU, at::kDouble).t().contiguous();
  columns.resize(static_cast<size_t>(wide_KN.size(0)));
  for (int64_t k = 0; k < wide_KN.size(0); ++k) {
    const double* row = wide_KN.const_data_ptr<double>() + k * wide_KN.size(1);
    columns[static_cast<size_t>(k)].insert(columns[static_cast<size_t>(k)].end(), row, row + wide_KN.size(1));
  }
}

}  // namespace

Regression::Regression(const ObjectiveParts& parts) : DocumentObjective(parts), network_(*parts.model.rows()) {
  require_width(network_, parts.train);
}

Tensor Regression::loss_sum(const nn::Pass& pass, int64_t) const {
  const Tensor predicted_NK = network_.predict(pass);
  const ProfileScope scope(kLossScope);
  return squared_error(predicted_NK, targets_of(pass.batch()));
}

LossMemory Regression::loss_memory(const BatchSize& size) const {
  const int64_t bytes = 3 * size.supervised * network_.num_outputs() * static_cast<int64_t>(sizeof(float));
  return {size.input, bytes, bytes};
}

std::vector<std::string> Regression::metric_names() const {
  std::vector<std::string> names{"eval_loss"};
  for (const auto& [name, value] : value_metrics({0}, {0})) {
    names.push_back(name);
  }
  return names;
}

EvalResult Regression::evaluate() const {
  ValueTally tally;
  for_each_eval_batch([&](const nn::Batch& tokens) {
    const at::NoGradGuard no_grad;
    tally.add(network_.predict(nn::evaluation_pass(tokens)), tokens.document_targets().values);
  });
  return tally.result();
}

void ValueTally::add(const Tensor& predicted_NK, const Tensor& targets) {
  const Tensor targets_NK = targets.dim() == 1 ? targets.unsqueeze(1) : targets;
  loss_ += squared_error(predicted_NK, targets_NK).item<double>();
  count_ += targets_NK.size(0);
  append(predicted_NK, predicted_);
  append(targets_NK, targets_);
}

EvalResult ValueTally::result() const {
  EvalResult result;
  result.supervised_name = "eval_num_examples";
  result.num_supervised = count_;
  result.loss = loss_ / static_cast<double>(count_);
  for (size_t k = 0; k < targets_.size(); ++k) {
    const Metrics own = value_metrics(predicted_[k], targets_[k]);
    result.metrics.resize(own.size());
    for (size_t i = 0; i < own.size(); ++i) {
      result.metrics[i] = {own[i].first, result.metrics[i].second + own[i].second / static_cast<double>(targets_.size())};
    }
  }
  return result;
}

}  // namespace lora::train
