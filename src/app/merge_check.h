#pragma once
#include <filesystem>
#include <vector>

#include "lora/app/merge_command.h"
#include "lora/peft/merge.h"

namespace lora::app {

/// Runs both the merged model and the one that still has its adapters beside it (with --unmerge: `result` is the latter) on a
/// few documents, in the result's dtype, and prints the largest difference of their logits and the mean KL divergence.
/// Throws model Error if the difference is above the tolerance: --tolerance, or by dtype 1e-4 (float32), 0.02 (float16), 0.1
/// (bfloat16) of the largest logit.
void check_merge(const MergeRequest& request, const std::filesystem::path& result);

}  // namespace lora::app
