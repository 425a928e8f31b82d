#pragma once
#include <sys/resource.h>

#include <cstdint>
#include <cstdlib>

namespace lora::test {

/// How many damaged files a test makes: `usual`, or LORA_DAMAGED_FILES in the environment, as the slow tests set it.
inline int damaged_files(int usual) {
  const char* const count = std::getenv("LORA_DAMAGED_FILES");
  return count == nullptr ? usual : std::atoi(count);
}

/// The most memory that this process has had so far, in KiB.
inline int64_t peak_memory() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

}  // namespace lora::test
