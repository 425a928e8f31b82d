#pragma once
#include <cstdint>
#include <memory>
#include <optional>

#include "lora/base/result_file.h"
#include "lora/data/dataset.h"
#include "lora/data/labels.h"
#include "lora/nn/model.h"
#include "lora/train/objective.h"
#include "lora/train/options.h"

namespace lora::diffusion {
class TrainingSchedule;
}

namespace lora::app {

/// What is measured: the adapter in use of a model, on rows.
struct MeasureRequest {
  nn::Model& model;
  const data::Dataset& rows;
  train::ObjectiveKind objective;
  const data::LabelSet* labels;  ///< meaning of the rows' labels; null if they have none
  int64_t batch_size;
  std::shared_ptr<const diffusion::TrainingSchedule> schedule = nullptr;  ///< of the noise that the model removes; null: it is no denoiser
};

/// Evaluates the objective on the rows, in their order. With `file`, writes what the model gives for each row: log-probabilities of tokens,
/// or predictions; the objective must have one of the two. Throws Interrupted, and Error (diverged) for a loss of rows that is not finite,
/// naming the first such rows.
train::EvalResult measure(const MeasureRequest& request, const std::optional<ResultFile>& file);

}  // namespace lora::app
