#pragma once
#include <filesystem>

#include "app/run_parts.h"

namespace lora::app {

/// Passes the batches of the first epoch to EVA, repeatedly until it has converged, and attaches the resulting adapter as parts.method. A
/// run that resumes from `checkpoint` (else empty) takes the ranks from there instead. Throws data Error if no batch has enough tokens, or
/// if EVA does not converge.
void attach_from_data(const config::RunConfig& config, RunParts& parts, const std::filesystem::path& checkpoint);

}  // namespace lora::app
