#pragma once
#include <string>
#include <vector>

#include "families.h"

namespace lora::models {

/// The checkpoint under the names of that family's model.
io::RenamedSource renamed_source(io::CheckpointSource& checkpoint, const std::string& model_type);

/// The builder of a `model_type`. Throws model Error that lists the known ones and names the nearest.
BuildFamily* find_family(const std::string& model_type, const std::string& where);

}  // namespace lora::models
