#pragma once
#include <vector>

#include "lora/app/merge_command.h"
#include "lora/models/options.h"
#include "lora/peft/merge.h"

namespace lora::app {

/// `lora-merge --model m.pt`: writes a TorchScript file with the same code and the adapters merged into its weights. See
/// merge_command.
void merge_script(const MergeRequest& request, const models::ModelOptions& model, const std::vector<peft::WeightedAdapter>& adapters);

}  // namespace lora::app
