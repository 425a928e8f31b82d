#pragma once
#include <functional>

namespace lora::app {

/// Runs a command and turns what it throws into one line on stderr and an exit code: that of the Error's kind, 128 + the signal for
/// Interrupted, and 1 for anything else.
int guarded(const std::function<int()>& command);

/// The versions of the program and of LibTorch.
const char* version_text();

}  // namespace lora::app
