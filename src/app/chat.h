#pragma once
#include "generation.h"

namespace lora::app {

/// Talks: a line of standard input is a turn or a command (/help lists them), the answer goes to standard output as it
/// comes. Until the input ends, or /quit. Throws Interrupted.
void chat(Generation& generation);

}  // namespace lora::app
