#pragma once
#include "config/table.h"
#include "lora/train/options.h"

namespace lora::config {

/// Adds the keys of the training section for the objective denoising.
void add_denoising(Table<train::TrainOptions>& table);

/// Reports a pair of these keys that contradicts itself.
void check_denoising(const train::TrainOptions& options, const ConfigPlace& at);

}  // namespace lora::config
