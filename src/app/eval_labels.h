#pragma once
#include <functional>

#include "lora/app/eval_command.h"
#include "lora/data/dataset.h"
#include "lora/train/objective.h"
#include "app/predictions.h"

namespace lora::app {

/// lora-eval on rows in the classification format: loss and metrics of the labels.
int evaluate_labels(const EvalRequest& request, const data::SourceOptions& source, const data::DataOptions& options);

/// The result of evaluating an adapter, for JSON and tables.
Json evaluation_json(const std::string& adapter, const train::EvalResult& found, const data::Dataset& dataset, const EvalRequest& request);

/// Throws Error (diverged) if the loss is not finite, naming the first rows whose own loss, computed by `loss_of`, is not finite.
void require_finite(const train::EvalResult& found, const data::Dataset& dataset,
                    const std::function<double(const data::Dataset& rows)>& loss_of);

/// Scores rows against their labels with this adapter (score_rows). The loss must be finite.
Json evaluation_of_rows(nn::Model& model, const std::string& adapter, const data::Dataset& dataset, const OutputKind& kind,
                        const EvalRequest& request, const std::optional<ResultFile>& file);

/// Prints the results as a table or as JSON.
void print_evaluations(const std::vector<Json>& results, bool json);

}  // namespace lora::app
