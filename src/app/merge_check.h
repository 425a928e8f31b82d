#pragma once
#include <filesystem>
#include <optional>
#include <vector>

#include "lora/app/merge_command.h"
#include "lora/models/options.h"
#include "lora/peft/merge.h"

namespace lora::app {

/// How the base is quantised while it is loaded for the comparison.
struct ComparedBase {
  std::optional<models::Quantization> merged_into;  ///< for the base that the adapters were merged into; none: as it is
  std::optional<models::Quantization> trained_on;   ///< for the one that they were trained on; none: the same
};

/// Runs the merged model and the base with its adapters attached (with --unmerge the result is the base) on a few documents in the
/// result's dtype, and prints the largest difference of their logits and the mean KL divergence. Throws model Error if the difference
/// is above the tolerance: --tolerance, or by default 1e-4 (float32), 0.02 (float16), 0.1 (bfloat16) of the largest logit. Prints the same
/// figures for the base that the adapters were trained on, if that is another one; a difference there is not an error.
void require_equal_merge(const MergeRequest& request, const std::filesystem::path& result, const ComparedBase& base = {});

}  // namespace lora::app
