#pragma once
#include <filesystem>
#include <optional>
#include <vector>

#include "lora/app/merge_command.h"
#include "lora/models/options.h"
#include "lora/peft/merge.h"

namespace lora::app {

/// Runs the merged model and the base with its adapters attached (with --unmerge the result is the base) on a few documents in the
/// result's dtype, and prints the largest difference of their logits and the mean KL divergence. Throws model Error if the difference
/// is above the tolerance: --tolerance, or by default 1e-4 (float32), 0.02 (float16), 0.1 (bfloat16) of the largest logit.
/// @param quantization how the base is quantised while it is loaded, if the adapters were merged into these weights.
void require_equal_merge(const MergeRequest& request, const std::filesystem::path& result,
                         const std::optional<models::Quantization>& quantization = std::nullopt);

}  // namespace lora::app
