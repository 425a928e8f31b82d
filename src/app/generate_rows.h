#pragma once
#include <filesystem>
#include <vector>

#include "generation.h"
#include "lora/data/prompts.h"

namespace lora::app {

/// Completes the prompts of each adapter `batch_size` at a time, and writes a row each, in the order of the input: to
/// `output`, which is replaced whole at the end, or, where it is empty, to standard output as soon as those before it are
/// done. On Interrupted, the rows that are done are written, whole, before it goes on.
void generate_rows(Generation& generation, const std::vector<data::PromptRow>& prompts, int64_t batch_size,
                   const std::filesystem::path& output);

}  // namespace lora::app
