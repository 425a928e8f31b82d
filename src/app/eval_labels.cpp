#include "app/eval_labels.h"

#include <algorithm>
#include <cmath>

#include "app/inference.h"
#include "lora/base/error.h"
#include "lora/base/interrupt.h"
#include "lora/base/terminal.h"
#include "lora/base/text.h"
#include "lora/nn/adapters.h"
#include "app/result_inputs.h"
#include "app/text_table.h"

namespace lora::app {

namespace {

std::string adapter_name(const Json& result) {
  return result["adapter"].is_null() ? "(none)" : result["adapter"].get<std::string>();
}

/// One line per metric, one column per adapter.
std::string label_table(const std::vector<Json>& results) {
  TextTable table;
  std::vector<std::string> head{"adapter"};
  for (const Json& result : results) {
    head.push_back(adapter_name(result));
  }
  table.add(std::move(head));
  for (const auto& [name, value] : results.front().items()) {
    if (!value.is_number()) {
      continue;
    }
    std::vector<std::string> line{name};
    for (const Json& result : results) {
      line.push_back(value.is_number_integer() ? result[name].dump() : short_number(result[name].get<double>(), 6));
    }
    table.add(std::move(line));
  }
  return table.text();
}

void require_consistent_label_flags(const EvalRequest& request) {
  if (!request.token_logprobs.empty()) {
    config_error("--token-logprobs", "needs rows with tokens to predict: found --format classification, whose rows have one label each");
  }
  if (request.compare_base && !request.inference.adapters.empty()) {
    config_error("--compare-base",
                 "cannot be used with --format classification and --adapter: the base model does not have the adapters' head");
  }
}

}  // namespace

Json evaluation_json(const std::string& adapter, const train::EvalResult& found, const data::Dataset& dataset, const EvalRequest& request) {
  Json result{
      {"model", request.inference.model}, {"adapter", adapter.empty() ? Json(nullptr) : Json(adapter)}, {"data", request.source.path}};
  if (found.num_supervised > 0) {  // otherwise no row has a label
    result["loss"] = found.loss;
  }
  for (const auto& [name, value] : found.metrics) {
    result[name.substr(std::string_view("eval_").size())] = value;
  }
  result["num_examples"] = found.num_supervised;
  if (!request.predictions.empty()) {
    result["num_predictions"] = dataset.examples.size();
  }
  if (dataset.examples.front().features() == nullptr) {  // rows of features have no tokens
    result["num_input_tokens"] = dataset.num_tokens();
  }
  return result;
}

void require_finite(const train::EvalResult& found, const data::Dataset& dataset,
                    const std::function<double(const data::Dataset& rows)>& loss_of) {
  constexpr size_t kNamed = 4;
  if (std::isfinite(found.loss)) {
    return;
  }
  std::vector<std::string> origins;
  for (size_t i = 0; i < dataset.examples.size() && origins.size() < kNamed; ++i) {
    throw_if_interrupted();
    data::Dataset row;
    row.examples = {dataset.examples[i]};
    row.labels = dataset.labels;
    if (!std::isfinite(loss_of(row))) {
      origins.push_back(dataset.examples[i].origin.text());
    }
  }
  throw Error(ErrorKind::kDiverged, "--data",
              "the loss is not finite: found " + std::to_string(found.loss) + (origins.empty() ? "" : " on " + join(origins)) +
                  ", expected a number. Likely cause: values in these rows that the model's dtype or code cannot represent.");
}

Json evaluation_of_rows(nn::Model& model, const std::string& adapter, const data::Dataset& dataset, const OutputKind& kind,
                        const EvalRequest& request, const std::optional<ResultFile>& file) {
  const train::EvalResult found = score_rows(model, dataset, kind, request.batch_size, file);
  require_finite(found, dataset,
                 [&](const data::Dataset& rows) { return score_rows(model, rows, kind, request.batch_size, std::nullopt).loss; });
  return evaluation_json(adapter, found, dataset, request);
}

void print_evaluations(const std::vector<Json>& results, bool json) {
  if (json) {
    terminal::print_json(results.size() == 1 ? results.front() : Json{{"results", results}});
  } else {
    terminal::print(label_table(results));
  }
}

int evaluate_labels(const EvalRequest& request, const data::SourceOptions& source, const data::DataOptions& options) {
  require_consistent_label_flags(request);
  const std::optional<ResultFile> predictions = predictions_file(request);
  const InferenceParts parts = open_inference(request.inference, ModelUse::kDocuments);
  nn::Model& model = *parts.base.model;
  const auto tokenizer = parts.tokenizer_for(source.format);
  const bool may_lack_labels = !request.predictions.empty();
  data::Dataset dataset = data::load_dataset("--data", {source}, options, {tokenizer.get(), model.vocab_size(), may_lack_labels});
  require_other_file(predictions, dataset);
  dataset = data::resolve_labels(std::move(dataset), *parts.labels);
  const OutputKind kind{parts.labels->is_regression, parts.labels->names};
  std::vector<Json> results;
  for (const std::string& name : parts.names_to_run(request.compare_base)) {
    nn::use_adapter(model, name);
    results.push_back(evaluation_of_rows(model, name, dataset, kind, request, predictions));
  }
  print_evaluations(results, request.json);
  return 0;
}

}  // namespace lora::app
