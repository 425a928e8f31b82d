// Legend: N rows, K outputs per row.
#include "app/predictions.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "lora/base/counted.h"
#include "lora/base/error.h"
#include "lora/base/interrupt.h"
#include "lora/base/log.h"
#include "lora/base/text.h"
#include "lora/data/batches.h"
#include "lora/train/regression.h"
#include "lora/train/sequence_classification.h"

namespace lora::app {

namespace {

Json finite_or_null(double value) {
  return std::isfinite(value) ? Json(value) : Json(nullptr);
}

using TakeOutputs = std::function<void(const std::vector<int64_t>& rows, const nn::Batch& tokens, const at::Tensor& outputs_NK)>;

void for_each_output(const nn::Model& model, const data::Dataset& dataset, int64_t batch_size, const TakeOutputs& take) {
  const auto count = static_cast<int64_t>(dataset.examples.size());
  for (int64_t begin = 0; begin < count; begin += batch_size) {
    throw_if_interrupted();
    std::vector<int64_t> rows;
    for (int64_t i = begin; i < std::min(count, begin + batch_size); ++i) {
      rows.push_back(i);
    }
    const nn::Batch tokens = data::make_batch(dataset, rows).to(model.device());
    take(rows, tokens, train::row_outputs(model, tokens));
    log::progress("row " + with_thousands(rows.back() + 1) + " of " + with_thousands(count));
  }
  log::end_progress();
}

/// Compares outputs with the targets of those rows that have one.
class LabelComparison {
 public:
  LabelComparison(const data::Dataset& dataset, const OutputKind& kind, bool is_list)
      : dataset_(dataset), is_list_(is_list), labels_(kind.are_values) {}

  void add(const std::vector<int64_t>& rows, const nn::Batch& tokens, const at::Tensor& outputs_NK) {
    if (!is_list_) {
      labels_.add(outputs_NK, train::targets_of(dataset_, tokens));
      return;
    }
    std::vector<int64_t> with_target, places;
    for (size_t i = 0; i < rows.size(); ++i) {
      const data::Example& example = dataset_.examples[static_cast<size_t>(rows[i])];
      if (example.has_target()) {
        require_width(example, outputs_NK.size(1));
        with_target.push_back(rows[i]);
        places.push_back(static_cast<int64_t>(i));
      }
    }
    if (!with_target.empty()) {
      const at::Device device = outputs_NK.device();
      values_.add(outputs_NK.index_select(0, at::tensor(places, at::kLong).to(device)),
                  data::make_batch(dataset_, with_target).document_targets().values.to(device));
    }
  }

  train::EvalResult result() const {
    const int64_t count = is_list_ ? values_.count() : labels_.count();
    return count == 0 ? train::EvalResult() : is_list_ ? values_.result() : labels_.result();
  }

 private:
  static void require_width(const data::Example& example, int64_t width) {
    const auto values = static_cast<int64_t>(example.num_target_values());
    if (values != width) {
      data_error(example.origin.text(), "the target does not fit the module's predictions: found " + counted(values, "value") +
                                            ", expected " + std::to_string(width) + ", as the module predicts per row");
    }
  }

  const data::Dataset& dataset_;
  bool is_list_;
  train::LabelTally labels_;
  train::ValueTally values_;
};

}  // namespace

Json prediction_json(const at::Tensor& outputs_NK, int64_t row, const OutputKind& kind) {
  const at::Tensor outputs_K = outputs_NK[row].to(at::kDouble).contiguous();
  if (kind.are_values) {
    Json values = Json::array();
    for (int64_t k = 0; k < outputs_K.numel(); ++k) {
      values.push_back(finite_or_null(outputs_K.const_data_ptr<double>()[k]));
    }
    return {{"prediction", values.size() == 1 ? values.front() : values}};
  }
  const at::Tensor shares_K = outputs_K.softmax(0);
  Json probabilities = Json::object();
  for (size_t k = 0; k < kind.names.size(); ++k) {
    probabilities[kind.names[k]] = finite_or_null(shares_K.const_data_ptr<double>()[k]);
  }
  const bool has_highest = !outputs_K.isnan().any().item<bool>();
  const auto highest = has_highest ? outputs_K.argmax().item<int64_t>() : 0;
  return {{"label", has_highest ? Json(kind.names[static_cast<size_t>(highest)]) : Json(nullptr)}, {"probabilities", probabilities}};
}

train::EvalResult score_rows(nn::Model& model, const data::Dataset& dataset, const OutputKind& kind, int64_t batch_size,
                             const std::optional<ResultFile>& file) {
  LabelComparison comparison(dataset, kind, /*is_list=*/kind.are_values && model.rows() != nullptr);
  if (!file) {
    for_each_output(model, dataset, batch_size,
                    [&](const auto& rows, const auto& tokens, const at::Tensor& outputs_NK) { comparison.add(rows, tokens, outputs_NK); });
    return comparison.result();
  }
  file->write([&](const Append& append) {
    for_each_output(model, dataset, batch_size, [&](const auto& rows, const auto& tokens, const at::Tensor& outputs_NK) {
      comparison.add(rows, tokens, outputs_NK);
      const at::Tensor own_NK = outputs_NK.to(at::kCPU, at::kFloat);
      for (int64_t i = 0; i < own_NK.size(0); ++i) {
        const std::string line = prediction_json(own_NK, i, kind).dump() + "\n";
        append(line.data(), line.size());
      }
    });
  });
  return comparison.result();
}

}  // namespace lora::app
