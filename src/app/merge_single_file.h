#pragma once
#include <vector>

#include "lora/app/merge_command.h"
#include "lora/models/options.h"
#include "lora/peft/merge.h"

namespace lora::app {

/// lora-merge into a single-file checkpoint of a text-to-image pipeline: a file with the same tensors and metadata, for programs such as
/// A1111 and ComfyUI. Throws as merge_command does, and config Error for a limit on the size of files.
void merge_single_file(const MergeRequest& request, const models::ModelOptions& model, const std::vector<peft::WeightedAdapter>& adapters);

}  // namespace lora::app
