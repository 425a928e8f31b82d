#pragma once
#include "generation.h"

namespace lora::app {

/// Talks: a line of standard input is a turn or a command (/help lists them), the answer goes to standard output as it
/// comes. Until the input ends, or /quit. `system`: the system's text to begin with; empty: none. SIGINT ends the answer that is being
/// written; where none is, Interrupted is thrown.
void chat(Generation& generation, const std::string& system);

}  // namespace lora::app
