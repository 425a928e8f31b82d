#pragma once
#include <memory>

#include "lora/train/document_objective.h"
#include "lora/train/options.h"

namespace lora::train {

/// What an objective is made of. All but the options outlive it.
struct ObjectiveParts {
  nn::Model& model;
  const data::Dataset& train;
  const data::Dataset* eval;     ///< null: there is nothing to evaluate on
  const data::LabelSet* labels;  ///< what documents' labels mean; null where they have none
  DocumentObjectiveOptions options;
};

/// One way to learn.
struct ObjectiveEntry {
  ObjectiveKind kind;
  bool (*reads)(data::RowFormat format);  ///< which rows it can learn from
  bool labels_documents;                  ///< each as a whole, in place of predicting its tokens
  bool needs_module;                      ///< a TorchScript module that is given rows whole: no model of ours has what it asks for
  std::unique_ptr<Objective> (*make)(const ObjectiveParts& parts);
};

const ObjectiveEntry& objective_entry(ObjectiveKind kind);

/// The row formats that an objective reads, by name.
std::vector<std::string> formats_of(ObjectiveKind kind);

}  // namespace lora::train
