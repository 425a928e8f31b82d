#pragma once
#include "lora/app/eval_command.h"

namespace lora::app {

/// lora-eval on rows of a classification: loss and metrics of the labels.
int evaluate_labels(const EvalRequest& request, const data::SourceOptions& source, const data::DataOptions& options);

}  // namespace lora::app
