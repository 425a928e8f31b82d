#include "eval_labels.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "inference.h"
#include "lora/base/error.h"
#include "lora/base/interrupt.h"
#include "lora/base/log.h"
#include "lora/base/terminal.h"
#include "lora/base/text.h"
#include "lora/data/batches.h"
#include "lora/nn/adapters.h"
#include "lora/train/sequence_classification.h"

namespace lora::app {

namespace {

train::EvalResult evaluate(nn::Model& model, const data::Dataset& dataset, const EvalRequest& request, bool is_regression) {
  train::LabelTally tally(is_regression);
  const auto count = static_cast<int64_t>(dataset.examples.size());
  for (int64_t begin = 0; begin < count; begin += request.batch_size) {
    check_interrupt();
    std::vector<int64_t> indices;
    for (int64_t i = begin; i < std::min(count, begin + request.batch_size); ++i) {
      indices.push_back(i);
    }
    const nn::TokenBatch tokens = data::make_batch(dataset, indices);
    tally.add(model, tokens.to(model.device()), train::targets_of(dataset, tokens));
    log::progress("document " + with_thousands(indices.back() + 1) + " of " + with_thousands(count));
  }
  log::end_progress();
  return tally.result();
}

void print_table(const std::vector<Json>& results) {
  std::string text;
  for (const Json& result : results) {
    text += "adapter                   " + (result["adapter"].is_null() ? "(none)" : result["adapter"].get<std::string>()) + "\n";
    for (const auto& [name, value] : result.items()) {
      if (value.is_number()) {
        std::array<char, 80> line{};
        std::snprintf(line.data(), line.size(), "%-24s %10.6g\n", name.c_str(), value.get<double>());
        text += line.data();
      }
    }
  }
  terminal::print(text);
}

void check_flags(const EvalRequest& request) {
  if (!request.token_logprobs.empty()) {
    config_error("--token-logprobs", "is for learnt tokens: found it beside --format classification, whose rows have one label each");
  }
  if (request.compare_base && !request.inference.adapters.empty()) {
    config_error("--compare-base", "found it beside --format classification, expected adapters alone: the bare model's head is not theirs");
  }
}

}  // namespace

Json evaluation_json(const std::string& adapter, const train::EvalResult& found, const data::Dataset& dataset, const EvalRequest& request) {
  Json result{{"model", request.inference.model},
              {"adapter", adapter.empty() ? Json(nullptr) : Json(adapter)},
              {"data", request.source.path},
              {"loss", found.loss}};
  for (const auto& [name, value] : found.metrics) {
    result[name.substr(std::string_view("eval_").size())] = value;
  }
  result["num_examples"] = found.num_supervised;
  result["num_input_tokens"] = dataset.num_tokens();
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
    check_interrupt();
    data::Dataset row;
    row.examples = {dataset.examples[i]};
    row.has_classes = dataset.has_classes;
    if (!std::isfinite(loss_of(row))) {
      origins.push_back(dataset.examples[i].origin.text());
    }
  }
  throw Error(ErrorKind::kDiverged, "--data",
              "the loss is not finite: found " + std::to_string(found.loss) + (origins.empty() ? "" : " on " + join(origins)) +
                  ", so that no figure means anything. Likely cause: values there that the model's dtype or its code cannot take");
}

void print_evaluations(const std::vector<Json>& results, bool json) {
  if (json) {
    terminal::print_json(results.size() == 1 ? results.front() : Json{{"results", results}});
  } else {
    print_table(results);
  }
}

int evaluate_labels(const EvalRequest& request, const data::SourceOptions& source, const data::DataOptions& options) {
  check_flags(request);
  const InferenceParts parts = open_inference(request.inference, ModelUse::kDocuments);
  nn::Model& model = *parts.base.model;
  const auto tokenizer = parts.tokenizer_for(source.format);
  data::Dataset dataset = data::load_dataset("--data", {source}, options, {tokenizer.get(), model.vocab_size()});
  data::apply_labels(dataset, *parts.labels);
  std::vector<Json> results;
  for (const std::string& name : parts.names_to_run(request.compare_base)) {
    nn::use_adapter(model, name);
    const auto found_of = [&](const data::Dataset& rows) { return evaluate(model, rows, request, parts.labels->is_regression); };
    const train::EvalResult found = found_of(dataset);
    require_finite(found, dataset, [&](const data::Dataset& rows) { return found_of(rows).loss; });
    results.push_back(evaluation_json(name, found, dataset, request));
  }
  print_evaluations(results, request.json);
  return 0;
}

}  // namespace lora::app
