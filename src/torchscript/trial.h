#pragma once
#include <cstdint>
#include <functional>
#include <string>

namespace lora::torchscript {

struct TrialLimits {
  int64_t memory_bytes = int64_t{8} << 30;  ///< that the child may have beside what the process has already
  int64_t seconds = 600;  ///< of computing; it may wait ten times as long, as a machine may be busy or stopped for a while
};

/// Runs `work` in a child process, on one thread and within the limits, and gives nothing back but whether it went well: a
/// file that makes it crash does not make this process crash. Throws the Error that it threw there, and model Error naming
/// `where` if the child died or took too long.
void try_in_child(const std::string& where, const TrialLimits& limits, const std::function<void()>& work);

}  // namespace lora::torchscript
