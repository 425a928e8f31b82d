#pragma once
#include <filesystem>
#include <memory>

#include "app/run_parts.h"

namespace lora::app {

/// Passes the batches of the first epoch to EVA, repeatedly until it has converged, and attaches the resulting adapter. A run that resumes
/// from `checkpoint` (else empty) takes the ranks from there instead. Throws data Error if no batch has enough tokens, or if EVA does not
/// converge.
std::unique_ptr<peft::Method> attach_by_eva(const config::RunConfig& config, RunParts& parts, const std::filesystem::path& checkpoint);

}  // namespace lora::app
