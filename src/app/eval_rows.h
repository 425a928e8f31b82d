#pragma once
#include "lora/app/eval_command.h"

namespace lora::app {

/// lora-eval on rows that a TorchScript module takes whole: loss and metrics of the objective that --objective names.
int evaluate_rows(const EvalRequest& request, const data::SourceOptions& source, const data::DataOptions& options);

}  // namespace lora::app
