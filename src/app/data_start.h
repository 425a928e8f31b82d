#pragma once
#include <filesystem>

#include "app/run_parts.h"

namespace lora::app {

/// Throws config Error for modules or ranks that the data pass of the run's adapter cannot start with. The model must have no adapter.
void require_data_start(const config::RunConfig& config, nn::Model& model);

/// Computes the initial adapter from the training data and attaches it as parts.method. A run that resumes from `checkpoint` (else empty)
/// takes what it needs from there instead. Throws what the passes throw.
void attach_from_data(const config::RunConfig& config, RunParts& parts, const std::filesystem::path& checkpoint);

}  // namespace lora::app
