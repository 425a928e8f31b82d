#pragma once
#include <cstdint>

namespace lora {

/// Lets the C library keep memory that is freed instead of giving it back to the system: a training step asks for the same
/// gigabytes as the one before, and a page that comes back must be cleared again. For programs, at their start; does
/// nothing where the C library is not glibc.
void keep_freed_memory();

/// Memory that the process has of the machine's now, mapped files included; 0 where it is not known.
int64_t resident_bytes();

/// Lets what a long run has resident follow what it needs. Steps of ever other shapes leave holes in the heap that fit nothing later, so
/// that it grows from step to step: once the process has more than its goal, the pages of free blocks go back to the system.
class HeapGoal {
 public:
  /// @param bytes of resident_bytes(); 0: nothing is ever given back.
  explicit HeapGoal(int64_t bytes) : bytes_(bytes) {}

  /// Between two pieces of work, when little is in use. A goal that one piece alone exceeds is raised to what that needed, as pages
  /// that come back must be cleared again.
  void check();
  int64_t bytes() const { return bytes_; }

 private:
  int64_t bytes_;
  bool just_released_ = false;
};

}  // namespace lora
