#pragma once
#include <memory>

#include "lora/train/document_objective.h"
#include "lora/train/options.h"

namespace lora::train {

/// The inputs of an objective. All except the options must outlive it.
struct ObjectiveParts {
  nn::Model& model;
  const data::Dataset& train;
  const data::Dataset* eval;     ///< null: no evaluation
  const data::LabelSet* labels;  ///< meaning of the documents' labels; null if they have none
  DocumentObjectiveOptions options;
};

/// An objective in the table of objectives.cpp.
struct ObjectiveEntry {
  ObjectiveKind kind;
  bool (*reads)(data::RowFormat format);  ///< whether it can be trained on rows of this format
  bool labels_documents;                  ///< whether it predicts a label per document instead of its tokens
  bool needs_module;                      ///< whether it needs a TorchScript module that takes whole rows, which supported families do not
  std::unique_ptr<Objective> (*make)(const ObjectiveParts& parts);
};

const ObjectiveEntry& objective_entry(ObjectiveKind kind);

/// The row formats that an objective reads, by name.
std::vector<std::string> formats_of(ObjectiveKind kind);

}  // namespace lora::train
