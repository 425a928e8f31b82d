#pragma once
#include <optional>
#include <vector>

#include "generation.h"
#include "lora/base/result_file.h"
#include "lora/data/prompts.h"

namespace lora::app {

/// Completes the prompts of each adapter `batch_size` at a time, and writes a row each, in the order of the input: to `output`, or,
/// where there is none, to standard output as soon as those before it are done. On Interrupted, the rows that are done are written, whole,
/// before it goes on.
void generate_rows(Generation& generation, const std::vector<data::PromptRow>& prompts, int64_t batch_size,
                   const std::optional<ResultFile>& output);

}  // namespace lora::app
