#pragma once
#include <optional>
#include <string>
#include <vector>

#include "lora/base/result_file.h"
#include "lora/data/dataset.h"
#include "lora/nn/model.h"
#include "lora/train/objective.h"

namespace lora::app {

/// The meaning of a model's outputs for a row.
struct OutputKind {
  bool are_values = false;              ///< predicted values of a regression; else scores of classes
  std::vector<std::string> names = {};  ///< names of the classes
};

/// A row of --predictions: {"label", "probabilities": {name: p}} for classes, {"prediction": a value or a list} for a regression.
/// `outputs_NK` is float32 on the CPU. Numbers that are not finite become null; without a highest score the label is null too.
Json prediction_json(const at::Tensor& outputs_NK, int64_t row, const OutputKind& kind);

/// Evaluates the model's outputs for the rows of `dataset` against their targets, batch by batch in the rows' order. Rows without a target
/// do not count; if no row has one, num_supervised is 0 and the rest is not set. Writes each row's prediction to `file`, if given. Throws
/// data Error for a target whose width differs from that of the outputs.
train::EvalResult score_rows(nn::Model& model, const data::Dataset& dataset, const OutputKind& kind, int64_t batch_size,
                             const std::optional<ResultFile>& file);

}  // namespace lora::app
