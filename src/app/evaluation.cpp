#include "app/evaluation.h"

#include "app/text_table.h"
#include "lora/base/terminal.h"
#include "lora/base/text.h"

namespace lora::app {

namespace {

Json to_json(const Evaluation& evaluation, const EvalRequest& request) {
  Json result{{"model", request.inference.model},
              {"adapter", evaluation.adapter.empty() ? Json(nullptr) : Json(evaluation.adapter)},
              {"data", request.source.path}};
  const auto add = [&result](const char* key, const auto& value) {
    if (value) {
      result[key] = *value;
    }
  };
  if (evaluation.found.num_supervised > 0) {
    result["loss"] = evaluation.found.loss;
  }
  for (const auto& [name, value] : evaluation.found.metrics) {
    result[name.substr(std::string_view("eval_").size())] = value;
  }
  result[evaluation.counts_tokens ? "num_tokens" : "num_examples"] = evaluation.found.num_supervised;
  add("num_predictions", evaluation.num_predictions);
  add("num_input_tokens", evaluation.num_input_tokens);
  add("num_documents", evaluation.num_documents);
  add("loss_difference", evaluation.loss_difference);
  return result;
}

std::string adapter_name(const Json& result) {
  return result["adapter"].is_null() ? "(none)" : result["adapter"].get<std::string>();
}

/// One line per adapter.
std::string token_table(const std::vector<Json>& results) {
  const bool compares = results.back().contains("loss_difference");
  TextTable table;
  std::vector<std::string> head{"adapter", "loss", "perplexity", "accuracy", "tokens"};
  if (compares) {
    head.insert(head.begin() + 2, "difference");
  }
  table.add(std::move(head));
  for (const Json& result : results) {
    std::vector<std::string> line{adapter_name(result)};
    for (const char* key : {"loss", "loss_difference", "perplexity", "token_accuracy"}) {
      if (result.contains(key)) {
        line.push_back(short_number(result[key].get<double>(), 6));
      } else if (compares) {
        line.emplace_back();
      }
    }
    line.push_back(with_thousands(result["num_tokens"].get<int64_t>()));
    table.add(std::move(line));
  }
  return table.text();
}

/// One line per metric, one column per adapter.
std::string metric_table(const std::vector<Json>& results) {
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

}  // namespace

Evaluation make_evaluation(const std::string& adapter, train::EvalResult found, const data::Dataset& rows, train::ObjectiveKind objective,
                           const EvalRequest& request) {
  const auto num_rows = static_cast<int64_t>(rows.examples.size());
  Evaluation evaluation{adapter, std::move(found), objective == train::ObjectiveKind::kCausalLm};
  if (!request.predictions.empty()) {
    evaluation.num_predictions = num_rows;
  }
  if (rows.examples.front().features() == nullptr && rows.examples.front().image() == nullptr) {
    evaluation.num_input_tokens = rows.num_tokens();
  }
  if (evaluation.counts_tokens) {
    evaluation.num_documents = num_rows;
  }
  return evaluation;
}

void print_evaluations(const std::vector<Evaluation>& evaluations, const EvalRequest& request) {
  std::vector<Json> results;
  for (const Evaluation& evaluation : evaluations) {
    results.push_back(to_json(evaluation, request));
  }
  if (request.json) {
    terminal::print_json(results.size() == 1 ? results.front() : Json{{"results", results}});
  } else {
    terminal::print(evaluations.front().counts_tokens ? token_table(results) : metric_table(results));
  }
}

}  // namespace lora::app
