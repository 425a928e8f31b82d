#pragma once
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lora/train/document_objective.h"
#include "lora/train/options.h"

namespace lora::train {

/// What an evaluation can measure, by its key in metrics.jsonl.
struct EvalMetric {
  std::string_view name;
  bool greater_is_better;
};

/// An objective in the table of objectives.cpp.
struct ObjectiveEntry {
  ObjectiveKind kind;
  bool (*reads)(data::RowFormat format);  ///< whether it can be trained on rows of this format
  bool labels_documents;                  ///< whether it predicts a label per document instead of its tokens
  bool needs_module;                      ///< whether it needs a TorchScript module that takes whole rows, which supported families do not
  bool removes_noise;                     ///< whether it needs a network that removes noise from images
  bool records_passes;                    ///< whether its passes can be recorded (training.cuda_graphs)
  std::span<const EvalMetric> metrics;    ///< what its evaluations may measure; Objective::metric_names says which for its data
  std::unique_ptr<Objective> (*make)(const ObjectiveParts& parts);
};

const ObjectiveEntry& objective_entry(ObjectiveKind kind);

/// The row formats that an objective reads, by name.
std::vector<std::string> formats_of(ObjectiveKind kind);

/// The metrics of all objectives, each once: the values that training.metric_for_best_model knows.
std::vector<EvalMetric> eval_metrics();

/// For the name of one of them.
bool greater_is_better(std::string_view metric);

}  // namespace lora::train
