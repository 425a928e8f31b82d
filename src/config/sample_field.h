#pragma once
#include "config/table.h"
#include "lora/train/options.h"

namespace lora::config {

/// training.sample: images that a run computes meanwhile, or null.
Field<train::TrainOptions> sample_field();

}  // namespace lora::config
