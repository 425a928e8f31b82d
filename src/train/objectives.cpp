#include "lora/train/objectives.h"

#include <algorithm>
#include <array>

#include "lora/train/causal_lm.h"
#include "lora/train/sequence_classification.h"

namespace lora::train {

namespace {

std::unique_ptr<Objective> make_causal_lm(const ObjectiveParts& parts) {
  return std::make_unique<CausalLm>(parts.model, parts.train, parts.eval, parts.options);
}

std::unique_ptr<Objective> make_classification(const ObjectiveParts& parts) {
  return std::make_unique<SequenceClassification>(parts.model, parts.train, parts.eval, *parts.labels, parts.options);
}

bool has_labelled_documents(data::RowFormat format) {
  return format == data::RowFormat::kClassification;
}

bool has_learnt_tokens(data::RowFormat format) {
  return !has_labelled_documents(format);
}

/// Every objective there is.
constexpr std::array<ObjectiveEntry, 2> kObjectives{{
    {ObjectiveKind::kCausalLm, has_learnt_tokens, /*labels_documents=*/false, make_causal_lm},
    {ObjectiveKind::kSequenceClassification, has_labelled_documents, /*labels_documents=*/true, make_classification},
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
