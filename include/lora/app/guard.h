#pragma once
#include <functional>

namespace lora::app {

/// Runs a command and turns what it throws into one line on stderr and the exit code of its ErrorKind.
int guarded(const std::function<int()>& command);

/// The program's version, with LibTorch's.
const char* version_text();

}  // namespace lora::app
