#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lora/app/eval_command.h"
#include "lora/data/dataset.h"
#include "lora/train/objective.h"
#include "lora/train/options.h"

namespace lora::app {

/// The result of evaluating one adapter, or the base model.
struct Evaluation {
  std::string adapter;                             ///< "": the base model
  train::EvalResult found;                         ///< num_supervised 0: no row has a label, and nothing else is set
  bool counts_tokens = false;                      ///< found.num_supervised counts tokens; otherwise rows
  std::optional<int64_t> num_predictions = {};     ///< written to a file
  std::optional<int64_t> num_input_tokens = {};    ///< none: rows of features have no tokens
  std::optional<int64_t> num_documents = {};       ///< none: rows are counted otherwise
  std::optional<double> loss_difference = {};      ///< from the base model's loss, if they are compared
};

Evaluation make_evaluation(const std::string& adapter, train::EvalResult found, const data::Dataset& rows, train::ObjectiveKind objective,
                           const EvalRequest& request);

/// Prints the results as JSON, or as a table: for tokens one line per adapter, otherwise one line per metric.
void print_evaluations(const std::vector<Evaluation>& evaluations, const EvalRequest& request);

}  // namespace lora::app
