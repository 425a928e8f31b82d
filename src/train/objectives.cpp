#include "lora/train/objectives.h"

#include <algorithm>
#include <array>

#include "lora/train/causal_lm.h"

namespace lora::train {

namespace {

template <typename Kind>
std::unique_ptr<Objective> make_on_documents(const ObjectiveParts& parts) {
  return std::make_unique<Kind>(parts.model, parts.train, parts.eval, parts.options);
}

bool is_text(data::RowFormat format) {
  return true;
}

/// Every objective there is.
constexpr std::array<ObjectiveEntry, 1> kObjectives{{
    {ObjectiveKind::kCausalLm, is_text, make_on_documents<CausalLm>},
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
