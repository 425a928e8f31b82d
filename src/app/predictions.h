#pragma once
#include <optional>
#include <string>
#include <vector>

#include "lora/app/eval_command.h"
#include "lora/base/result_file.h"
#include "lora/data/dataset.h"
#include "lora/nn/model.h"
#include "lora/train/objective.h"

namespace lora::app {

/// What a model's outputs for a row are.
struct OutputKind {
  bool are_values = false;              ///< of a regression; else the scores of classes
  std::vector<std::string> names = {};  ///< of the classes
};

/// A row of --predictions: {"label", "probabilities": {name: p}} of a class, {"prediction": a value, or a list of them} of a regression.
/// `outputs_NK` is float32 on the CPU. A number that is not finite is null; without a highest score the label is null too.
Json prediction_json(const at::Tensor& outputs_NK, int64_t row, const OutputKind& kind);

/// The model's outputs for the rows of `dataset` against their targets, batch by batch in the rows' order, where rows without a target do
/// not count; num_supervised is 0 and nothing else is known where no row has one. Each row's prediction is written to `file`, if there is
/// one. Throws data Error for a target of another width than the outputs.
train::EvalResult score_rows(nn::Model& model, const data::Dataset& dataset, const OutputKind& kind, int64_t batch_size,
                             const std::optional<ResultFile>& file);

/// The file of --predictions; none: they are not asked for. Throws config Error where several models would have theirs to write, output
/// Error where it cannot be written.
std::optional<ResultFile> predictions_file(const EvalRequest& request);

}  // namespace lora::app
