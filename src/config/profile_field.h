#pragma once
#include "config/table.h"
#include "lora/train/options.h"

namespace lora::config {

/// training.profile: the steps to profile, or null.
Field<train::TrainOptions> profile_field();

}  // namespace lora::config
