#pragma once
#include <vector>

#include "lora/app/merge_command.h"
#include "lora/models/options.h"
#include "lora/peft/merge.h"

namespace lora::app {

/// lora-merge into a text-to-image pipeline. Into a folder in diffusers' layout: a folder of which the components that the adapters change
/// are new, and the others copies of the base's. Into a single file: such a file. Throws as merge_command does, and config Error for flags
/// that are only for language models.
void merge_pipeline(const MergeRequest& request, const models::ModelOptions& model, const std::vector<peft::WeightedAdapter>& adapters);

}  // namespace lora::app
