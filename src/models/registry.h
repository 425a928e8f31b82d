#pragma once
#include <optional>
#include <string>
#include <vector>

#include "models/families.h"
#include "lora/models/checkpoint_layout.h"

namespace lora::models {

/// The checkpoint under the names of its family's model.
io::RenamedSource renamed_source(io::CheckpointSource& checkpoint, const CheckpointLayout& layout);

struct FamilyBuilders {
  BuildFamily* body;
  BuildSequenceHead* sequence_head;
};

/// The labels of the checkpoint's head that scores documents, if it has one.
std::optional<int64_t> stored_labels(const io::CheckpointSource& checkpoint, const CheckpointLayout& layout);

/// The builders of a `model_type`. Throws model Error that lists the known ones and suggests the nearest.
FamilyBuilders find_family(const std::string& model_type, const std::string& where);

}  // namespace lora::models
