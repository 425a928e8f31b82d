#pragma once
#include <vector>

#include "lora/app/merge_command.h"
#include "lora/models/options.h"
#include "lora/peft/merge.h"

namespace lora::app {

/// `lora-merge --model`: see merge_command.
void merge_model(const MergeRequest& request, const models::ModelOptions& model, const std::vector<peft::WeightedAdapter>& adapters);

}  // namespace lora::app
