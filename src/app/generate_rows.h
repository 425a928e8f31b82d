#pragma once
#include <optional>
#include <vector>

#include "app/generation.h"
#include "lora/base/result_file.h"
#include "lora/data/prompts.h"

namespace lora::app {

/// Completes the prompts of each adapter `batch_size` at a time and writes one row per prompt, in the order of the input: to `output`, or
/// without it to standard output as soon as all previous rows are finished. On Interrupted, the finished rows are written, each of them
/// whole, before it is rethrown.
void generate_rows(Generation& generation, const std::vector<data::PromptRow>& prompts, int64_t batch_size,
                   const std::optional<ResultFile>& output);

}  // namespace lora::app
