#pragma once
#include "config/table.h"
#include "lora/train/options.h"

namespace lora::config {

/// Every key of the training section.
const Table<train::TrainOptions>& training_table();

}  // namespace lora::config
