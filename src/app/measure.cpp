#include "app/measure.h"

#include <cmath>
#include <limits>

#include "app/document_scores.h"
#include "app/predictions.h"
#include "lora/base/error.h"
#include "lora/base/interrupt.h"
#include "lora/base/json.h"
#include "lora/base/text.h"
#include "lora/nn/batch.h"
#include "lora/train/objectives.h"

namespace lora::app {

namespace {

using train::ObjectiveKind;

/// The sums over the supervised tokens of documents.
struct TokenTotals {
  double loss = 0;
  int64_t correct = 0;
  int64_t tokens = 0;

  void add(const data::Example& example, const DocumentScores& scores) {
    for (size_t i = 1; i < example.ids().size(); ++i) {
      if (example.label(i) != nn::kIgnoreLabel) {
        loss += scores.losses[i];
        correct += scores.correct[i] ? 1 : 0;
        ++tokens;
      }
    }
  }
  double mean_loss() const { return loss / static_cast<double>(tokens); }
};

/// A row of --token-logprobs. `loss` is the mean over the document's supervised tokens, null if it has none.
std::string logprobs_row(size_t index, const data::Example& example, const DocumentScores& scores) {
  TokenTotals own;
  own.add(example, scores);
  Json logprobs = Json::array();
  for (size_t i = 0; i < example.ids().size(); ++i) {
    logprobs.push_back(i == 0 ? Json(nullptr) : Json(-scores.losses[i]));
  }
  const Json row{{"index", index},
                 {"input_ids", example.ids()},
                 {"logprobs", std::move(logprobs)},
                 {"loss", own.tokens > 0 ? Json(own.mean_loss()) : Json(nullptr)}};
  return row.dump() + "\n";
}

/// Token by token, which gives accuracy and log-probabilities besides the objective's loss.
train::EvalResult measure_tokens(const MeasureRequest& request, const std::optional<ResultFile>& file) {
  const std::vector<data::Example>& examples = request.rows.examples;
  TokenTotals totals;
  if (!file) {
    score_documents(request.model, request.rows, request.batch_size, false,
                    [&](size_t i, const DocumentScores& scores) { totals.add(examples[i], scores); });
  } else {
    file->write([&](const Append& append) {
      score_documents(request.model, request.rows, request.batch_size, true, [&](size_t i, const DocumentScores& scores) {
        totals.add(examples[i], scores);
        const std::string row = logprobs_row(i, examples[i], scores);
        append(row.data(), row.size());
      });
    });
  }
  train::EvalResult result;
  result.loss = totals.mean_loss();
  result.num_supervised = totals.tokens;
  result.metrics = {{"eval_perplexity", std::exp(result.loss)},
                    {"eval_token_accuracy", static_cast<double>(totals.correct) / static_cast<double>(totals.tokens)}};
  return result;
}

/// Row by row, which gives predictions besides the objective's metrics.
train::EvalResult measure_outputs(const MeasureRequest& request, const std::optional<ResultFile>& file) {
  const data::LabelSet* const labels = request.labels;
  const bool are_values = request.objective == ObjectiveKind::kRegression || (labels != nullptr && labels->is_regression);
  const OutputKind kind{are_values, labels != nullptr ? labels->names : std::vector<std::string>()};
  return score_rows(request.model, request.rows, kind, request.batch_size, file);
}

/// By the objective's own evaluation, as in training.
train::EvalResult measure_objective(const MeasureRequest& request) {
  const data::BatchOptions batches{request.batch_size, /*packing=*/false, std::numeric_limits<int64_t>::max(), /*shuffle=*/false};
  return train::objective_entry(request.objective)
      .make({request.model, request.rows, &request.rows, request.labels, batches, {}, request.schedule})
      ->evaluate();
}

train::EvalResult measure_rows(const MeasureRequest& request, const std::optional<ResultFile>& file) {
  return train::objective_entry(request.objective).labels_documents ? measure_outputs(request, file) : measure_objective(request);
}

void require_finite(const train::EvalResult& found, const MeasureRequest& request) {
  constexpr size_t kNamed = 4;
  if (std::isfinite(found.loss)) {
    return;
  }
  std::vector<std::string> origins;
  for (size_t i = 0; i < request.rows.examples.size() && origins.size() < kNamed; ++i) {
    throw_if_interrupted();
    data::Dataset row;
    row.examples = {request.rows.examples[i]};
    row.labels = request.rows.labels;
    const MeasureRequest own{request.model, row, request.objective, request.labels, request.batch_size, request.schedule};
    if (!std::isfinite(measure_rows(own, std::nullopt).loss)) {
      origins.push_back(row.examples.front().origin.text());
    }
  }
  throw Error(ErrorKind::kDiverged, "--data",
              "the loss is not finite: found " + std::to_string(found.loss) + (origins.empty() ? "" : " on " + join(origins)) +
                  ", expected a number. Likely cause: values in these rows that the model's dtype or code cannot represent.");
}

}  // namespace

train::EvalResult measure(const MeasureRequest& request, const std::optional<ResultFile>& file) {
  if (request.objective == ObjectiveKind::kCausalLm) {
    return measure_tokens(request, file);
  }
  const train::EvalResult found = measure_rows(request, file);
  require_finite(found, request);
  return found;
}

}  // namespace lora::app
