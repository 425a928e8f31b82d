#pragma once
#include <filesystem>

#include "lora/base/json.h"
#include "lora/checkpoint/checkpoint.h"

namespace lora::checkpoint {

/// trainer_state.json has TrainerState's members by their names; an absent optional is null.
Json to_json(const TrainerState& state);

/// The inverse. Throws model Error that names `file` and the key.
TrainerState trainer_state_from(const Json& json, const fs::path& file);

}  // namespace lora::checkpoint
