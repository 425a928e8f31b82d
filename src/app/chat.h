#pragma once
#include "app/generation.h"

namespace lora::app {

/// Chats until the input ends or the user types /quit. Each line of standard input is a turn or a command (/help lists them); answers are
/// streamed to standard output. `system` is the first system message; empty: none. SIGINT ends the answer that is being written; at the
/// prompt Interrupted is thrown.
void chat(Generation& generation, const std::string& system);

}  // namespace lora::app
