#pragma once
#include <functional>

#include "lora/app/eval_command.h"
#include "lora/data/dataset.h"
#include "lora/train/objective.h"
#include "predictions.h"

namespace lora::app {

/// lora-eval on rows of a classification: loss and metrics of the labels.
int evaluate_labels(const EvalRequest& request, const data::SourceOptions& source, const data::DataOptions& options);

/// What an adapter comes to, of what an objective's evaluation found.
Json evaluation_json(const std::string& adapter, const train::EvalResult& found, const data::Dataset& dataset, const EvalRequest& request);

/// Throws Error (diverged) where the loss is not finite, naming the first rows that make it so: `loss_of` gives that of other rows.
void require_finite(const train::EvalResult& found, const data::Dataset& dataset,
                    const std::function<double(const data::Dataset& rows)>& loss_of);

/// What the model with this adapter makes of rows against their labels (score_rows), whose loss must be finite.
Json evaluation_of_rows(nn::Model& model, const std::string& adapter, const data::Dataset& dataset, const OutputKind& kind,
                        const EvalRequest& request, const std::optional<ResultFile>& file);

/// Prints them, as a table or as JSON.
void print_evaluations(const std::vector<Json>& results, bool json);

}  // namespace lora::app
