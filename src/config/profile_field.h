#pragma once
#include "config/table.h"
#include "lora/train/options.h"

namespace lora::config {

/// training.profile: which steps are profiled, or null.
Field<train::TrainOptions> profile_field();

}  // namespace lora::config
