#include "lora/train/objectives.h"

#include <algorithm>
#include <array>

#include "lora/train/causal_lm.h"
#include "lora/train/module_loss.h"
#include "lora/train/regression.h"
#include "lora/train/sequence_classification.h"

namespace lora::train {

namespace {

std::unique_ptr<Objective> make_causal_lm(const ObjectiveParts& parts) {
  return std::make_unique<CausalLm>(parts.model, parts.train, parts.eval, parts.options);
}

std::unique_ptr<Objective> make_classification(const ObjectiveParts& parts) {
  return std::make_unique<SequenceClassification>(parts.model, parts.train, parts.eval, *parts.labels, parts.options);
}

std::unique_ptr<Objective> make_regression(const ObjectiveParts& parts) {
  return std::make_unique<Regression>(parts.model, parts.train, parts.eval, parts.options);
}

std::unique_ptr<Objective> make_module_loss(const ObjectiveParts& parts) {
  return std::make_unique<ModuleLoss>(parts.model, parts.train, parts.eval, parts.options);
}

bool has_labelled_rows(data::RowFormat format) {
  return data::has_one_label(format);
}

bool has_supervised_tokens(data::RowFormat format) {
  return !has_labelled_rows(format);
}

bool has_any_rows(data::RowFormat) {
  return true;
}

/// All objectives.
constexpr std::array<ObjectiveEntry, 4> kObjectives{{
    {ObjectiveKind::kCausalLm, has_supervised_tokens, /*labels_documents=*/false, /*needs_module=*/false, make_causal_lm},
    {ObjectiveKind::kSequenceClassification, has_labelled_rows, /*labels_documents=*/true, /*needs_module=*/false, make_classification},
    {ObjectiveKind::kRegression, has_labelled_rows, /*labels_documents=*/true, /*needs_module=*/true, make_regression},
    {ObjectiveKind::kModuleLoss, has_any_rows, /*labels_documents=*/false, /*needs_module=*/true, make_module_loss},
}};

}  // namespace

const ObjectiveEntry& objective_entry(ObjectiveKind kind) {
  return *std::find_if(kObjectives.begin(), kObjectives.end(), [kind](const ObjectiveEntry& entry) { return entry.kind == kind; });
}

std::vector<std::string> formats_of(ObjectiveKind kind) {
  std::vector<std::string> names;
  for (const auto& entry : data::kRowFormats.entries) {
    if (objective_entry(kind).reads(entry.value)) {
      names.emplace_back(entry.name);
    }
  }
  return names;
}

}  // namespace lora::train
