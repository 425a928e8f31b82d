#pragma once
#include <filesystem>

#include "run_parts.h"

namespace lora::app {

/// Shows parts.eva the batches of the first epoch, in turn until it has converged, and attaches the adapter that it
/// gives as parts.method. A run that goes on from `checkpoint` (else empty) needs no look: the ranks stand there. Throws
/// data Error where no batch has enough tokens, or where the pass does not converge.
void attach_from_data(const config::RunConfig& config, RunParts& parts, const std::filesystem::path& checkpoint);

}  // namespace lora::app
