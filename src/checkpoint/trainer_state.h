#pragma once
#include <filesystem>

#include "lora/base/json.h"
#include "lora/checkpoint/checkpoint.h"

namespace lora::checkpoint {

/// The content of trainer_state.json: TrainerState's members under their names, with null for an optional without a value.
Json to_json(const TrainerState& state);

/// The inverse. Throws model Error with `file` and the key.
TrainerState trainer_state_from(const Json& json, const fs::path& file);

}  // namespace lora::checkpoint
