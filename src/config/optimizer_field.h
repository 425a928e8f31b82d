#pragma once
#include "config/table.h"
#include "lora/train/options.h"

namespace lora::config {

/// training.optim: the name of an optimiser. A name of transformers that this version does not have is refused with what to use instead.
Field<train::TrainOptions> optimizer_field();

}  // namespace lora::config
