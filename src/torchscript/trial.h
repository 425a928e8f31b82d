#pragma once
#include <cstdint>
#include <functional>
#include <string>

namespace lora::torchscript {

struct TrialLimits {
  int64_t memory_bytes = int64_t{8} << 30;  ///< that the child may use in addition to what the process already has
  int64_t seconds = 600;  ///< of computing; the wall time may be ten times as long, because the machine may be busy or paused
};

/// Runs `work` in a child process, on one thread and within the limits, so that a file that makes it crash does not crash this process. Its
/// results are discarded. Throws the Error that `work` threw there, and model Error naming `where` if the child died or took too long.
void try_in_child(const std::string& where, const TrialLimits& limits, const std::function<void()>& work);

}  // namespace lora::torchscript
